"""CAT-Seg computes what the released code computes, for the same weights and inputs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers.catseg_recordings import (
    Arrays,
    arrays_of,
    banks,
    encode,
    load,
    losses_of,
    network,
    pixels,
    released_tensors,
    seeds,
    targets,
)
from helpers.paths import FIXTURES
from helpers.toy_models import TOY_CLIP, build
from parity.catseg_checks import (
    LOGITS,
    LOSSES,
    check,
    check_features,
    check_gradients,
    check_layers,
)

from ovps_core.checkpoints import LoadedModel
from ovps_core.checkpoints.convert.partcatseg import catseg_key
from ovps_core.losses.partcatseg import catseg_loss
from ovps_core.models.catseg.config import CATSegConfig
from ovps_core.models.catseg.guidance import GuidanceProjection
from ovps_core.models.catseg.model import CATSeg, similarities
from ovps_core.models.joint_conditions import JointConditions

pytestmark = pytest.mark.parity
GUIDED = sorted(path.stem for path in (FIXTURES / "catseg").glob("guided_seed*.npz"))


def conditions(loaded: LoadedModel, arrays: Arrays, split: str) -> JointConditions:
    return network(loaded).conditions(banks(loaded, arrays[f"{split}_tokens"]))


@pytest.fixture(params=seeds("catseg"), scope="module")
def seed(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["train", "test"], scope="module")
def case(seed: str, request: pytest.FixtureRequest) -> tuple[LoadedModel, Arrays, str]:
    return *load("catseg", seed), request.param


@torch.no_grad()
def test_text_banks_features_layers_and_logits(case: tuple[LoadedModel, Arrays, str]) -> None:
    loaded, arrays, split = case
    model, asked = network(loaded), conditions(loaded, arrays, split)
    rows = model.banks(asked.names)
    check(arrays, f"{split}_text", rows)
    guidance = model.text_guidance(rows).repeat(len(pixels(arrays, split)[0]), 1, 1)
    check(arrays, f"{split}_text_guidance", guidance)
    check_features(loaded, arrays, split)
    features = encode(loaded, arrays, split)
    keys = (f"{split}_cost_embed", f"{split}_layer", "", f"{split}_decoder{{}}_out")
    cost = similarities(features.levels[0], rows)
    check_layers(model, model.branch, features, cost, asked.names, arrays, keys)
    check(arrays, f"{split}_logits", model.decode(features, asked).names, atol=LOGITS)


def test_loss_and_every_gradient(seed: str) -> None:
    loaded, arrays = load("catseg", seed)
    model = network(loaded)
    logits = model.decode(encode(loaded, arrays, "train"), conditions(loaded, arrays, "train"))
    loss = catseg_loss(logits, targets("catseg", arrays)[0])
    loss.backward()
    recorded = losses_of("catseg", seed)
    assert loss.item() == pytest.approx(recorded["loss_total"], abs=LOSSES, rel=0)
    check_gradients(model, catseg_key, arrays, recorded)


@pytest.mark.parametrize("name", GUIDED)
@torch.no_grad()
def test_aggregation_with_three_widths_of_guidance(name: str) -> None:
    arrays = arrays_of(f"catseg/{name}.npz")
    text, image = arrays["text"], arrays["img"]
    state = released_tensors(
        f"catseg/{name}_state.safetensors", "sem_seg_head.predictor.transformer."
    )
    config = CATSegConfig(
        clip={**TOY_CLIP, "embed_dim": text.shape[2]},
        image_size=image.shape[-1] * 16,
        guidance="test_vit",
        guidance_size=64,
        templates=text.shape[1],
        dim=len(state["branch.embed.weight"]),
        layers=3,
        window=image.shape[-1],
        pooling=3,
        guidance_dim=len(state["guidance_projection.convs.0.weight"]),
        text_guidance_dim=len(state["text_projection.weight"]),
        decoder_dims=(32, 16),
        decoder_guidance_dims=(8, 4),
    )
    model = build("catseg", config).model
    assert isinstance(model, CATSeg)
    maps = [arrays[f"guidance{size}"] for size in (6, 12, 24)]
    model.guidance_projection = GuidanceProjection(config, [level.shape[1] for level in maps])
    unknown = model.load_state_dict(state, strict=False).unexpected_keys
    assert not unknown
    spatial, *for_decoder = model.guidance_projection(maps)
    cost = similarities(F.normalize(image, dim=1), F.normalize(text, dim=-1))
    # The recorded texts are not normalised before their mean is taken.
    aggregated = model.branch(cost, spatial, model.text_guidance(text))
    check(arrays, "logits", model.decoder(aggregated, for_decoder), atol=LOGITS)
