"""PartCLIPSeg computes what the released code computes, for the same weights and inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from helpers.paths import FIXTURES
from helpers.recordings import recorded_tensors
from helpers.toy_models import build
from safetensors.torch import load_file

from ovps_core.checkpoints import LoadedModel
from ovps_core.checkpoints.convert.clipseg import clipseg_values
from ovps_core.checkpoints.convert.key_names import from_hugging_face
from ovps_core.checkpoints.file import full_state, load_full_state
from ovps_core.models.interface import Conditions
from ovps_core.models.partclipseg.corrections import Corrections
from ovps_core.models.partclipseg.model import PartCLIPSeg, PartCLIPSegConfig

SEEDS = sorted(p.stem for p in (FIXTURES / "partclipseg").glob("seed*.npz"))

pytestmark = pytest.mark.parity


def load(seed: str) -> tuple[LoadedModel, Mapping[str, torch.Tensor]]:
    folder = FIXTURES / "partclipseg"
    toy = json.loads((folder / "config.json").read_text())
    state = dict(load_file(folder / f"{seed}_state.safetensors"))
    values = clipseg_values(state, {**toy["config"], "image_size": toy["input_size"]})
    config = PartCLIPSegConfig(**values, corrections=Corrections.released())
    loaded = build("partclipseg", config)
    load_full_state(loaded.model, loaded.query_encoder, from_hugging_face(state))
    return loaded, recorded_tensors(folder / f"{seed}.npz")


def conditions(loaded: LoadedModel, arrays: Mapping[str, torch.Tensor], split: str) -> Conditions:
    """The recorded prompts, encoded: all parts, then all objects."""
    model, query_encoder, _ = loaded
    assert isinstance(model, PartCLIPSeg) and query_encoder.text_encoder is not None
    names = query_encoder.text_encoder(arrays[f"{split}_input_ids"].long())
    part, of_object = (arrays[f"{split}_{key}_index_map"].long() for key in ("part", "obj"))
    parts = len(names) - int(of_object.max()) - 1
    return model.object_part_conditions(names, part, parts + of_object, num_parts=parts)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("split", ["train", "test"])
@torch.no_grad()
def test_the_maps_of_both_heads_are_the_originals(seed: str, split: str) -> None:
    loaded, arrays = load(seed)
    model = loaded.model
    asked = conditions(loaded, arrays, split)
    logits = model.decode(model.encode(arrays[f"{split}_pixel_values"]), asked)
    torch.testing.assert_close(logits.names, arrays[f"{split}_logits"], rtol=0, atol=1e-3)
    torch.testing.assert_close(
        logits.object_parts, arrays[f"{split}_part_obj_logits"], rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("seed", SEEDS)
@torch.no_grad()
def test_conditions_and_attention_are_the_originals(seed: str) -> None:
    loaded, arrays = load(seed)
    model = loaded.model
    pixels = arrays["train_pixel_values"]
    asked = conditions(loaded, arrays, "train")
    repeated = asked.names.repeat(len(pixels), 1)
    torch.testing.assert_close(repeated, arrays["train_conditional_embeddings"], rtol=0, atol=1e-5)
    _, attentions = model.decode_with_attention(model.encode(pixels), asked)
    for layer, attention in enumerate(attentions):
        recorded = arrays[f"train_decoder_attn{layer}"]
        torch.testing.assert_close(attention.flatten(0, 1), recorded, rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
@torch.no_grad()
def test_corrected_object_prompt_changes_only_the_pairs(seed: str) -> None:
    released, arrays = load(seed)
    corrected = build("partclipseg", replace(released.info.config, corrections=Corrections()))
    load_full_state(
        corrected.model,
        corrected.query_encoder,
        full_state(released.model, released.query_encoder),
    )
    features = released.model.encode(arrays["test_pixel_values"])
    before = released.model.decode(features, conditions(released, arrays, "test"))
    after = corrected.model.decode(features, conditions(corrected, arrays, "test"))
    torch.testing.assert_close(before.names, after.names)
    assert (before.object_parts[:, :-1] - after.object_parts[:, :-1]).abs().max() > 1
    # The background has no object prompt.
    torch.testing.assert_close(before.object_parts[:, -1], after.object_parts[:, -1])
