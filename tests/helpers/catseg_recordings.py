"""Recordings of the released PartCATSeg and CAT-Seg: their weights in our networks, and their arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from helpers.paths import FIXTURES
from helpers.recordings import Recording, recorded_tensors
from helpers.toy_models import build
from ovps_core.checkpoints import LoadedModel
from ovps_core.checkpoints.convert.partcatseg import catseg_values, from_catseg
from ovps_core.checkpoints.file import load_full_state
from ovps_core.evaluation.released_partcatseg import released_pixels
from ovps_core.language.vocabulary import IGNORE, Vocabulary
from ovps_core.losses.labels import ObjectPartIndex, PartTargets
from ovps_core.models.catseg.config import CATSegConfig
from ovps_core.models.catseg.model import CATSeg
from ovps_core.models.catseg.text import PromptBankEncoder
from ovps_core.models.interface import Features
from ovps_core.models.partcatseg.corrections import Corrections
from ovps_core.models.partcatseg.model import PartCATSegConfig

Arrays = Mapping[str, Tensor]


def seeds(family: str) -> list[str]:
    """The recorded seeds of "partcatseg" or "catseg"."""
    return sorted(path.stem for path in (FIXTURES / family).glob("seed*.npz"))


def toy(family: str) -> dict[str, Any]:
    """Sizes and vocabulary of the recordings."""
    content: dict[str, Any] = json.loads((FIXTURES / family / "config.json").read_text())
    return content


def arrays_of(path: str) -> Recording[Tensor]:
    """Recorded arrays; large ones may be left out in the repository's copies."""
    return recorded_tensors(FIXTURES / path)


def released_tensors(path: str, prefix: str = "") -> dict[str, Tensor]:
    """Recorded weights under our names; ``prefix`` is what the recording left out of its names."""
    tensors = load_file(FIXTURES / path)
    return from_catseg({prefix + name: tensor for name, tensor in tensors.items()})


def losses_of(family: str, seed: str) -> dict[str, Any]:
    """Recorded losses, and norms of gradients."""
    content: dict[str, Any] = json.loads((FIXTURES / family / f"{seed}_losses.json").read_text())
    return content


def released_config(
    family: str, state: dict[str, Tensor], mask: Tensor, corrections: Corrections | None
) -> CATSegConfig:
    """The configuration of a recording; what does not show in its tensors is read from config.json."""
    sizes = toy(family)
    values = catseg_values(state, mask)
    values["clip"]["text_cfg"]["heads"] = sizes["clip"]["transformer_heads"]
    values["guidance"]["num_heads"] = sizes["dino"]["num_heads"]
    values["guidance_size"] = sizes["dino_resolution"]
    assert values["image_size"] == sizes["clip_resolution"]
    if family == "catseg":
        return CATSegConfig(**values)
    return PartCATSegConfig(**values, corrections=corrections or Corrections.released())


def load(
    family: str, seed: str, corrections: Corrections | None = None
) -> tuple[LoadedModel, Arrays]:
    """The network of a recording with its weights, and the recorded arrays."""
    released = dict(load_file(FIXTURES / family / f"{seed}_state.safetensors"))
    mask = next(tensor for name, tensor in released.items() if name.endswith(".attn_mask"))
    state = from_catseg(released)
    config = released_config(family, state, mask, corrections)
    if corrections is None or not corrections.separate_aggregation:
        state = {k: v for k, v in state.items() if not k.startswith("object_layers.")}
    loaded = build(family, config)
    load_full_state(loaded.model, loaded.query_encoder, state)
    return loaded, arrays_of(f"{family}/{seed}.npz")


def network(loaded: LoadedModel) -> CATSeg:
    """The network, typed."""
    assert isinstance(loaded.model, CATSeg)
    return loaded.model


def vocabulary(family: str) -> Vocabulary:
    """The recordings' vocabulary."""
    sizes = toy(family)
    pairs = tuple((name.split("'s ")[0], name.split("'s ")[1]) for name in sizes["object_parts"])
    return Vocabulary("toy", tuple(sizes["objects"]), pairs, frozenset(sizes["unseen_objects"]))


def pixels(arrays: Arrays, split: str) -> tuple[Tensor, Tensor]:
    """Recorded images as the released code feeds them to CLIP and to the guidance backbone."""
    images = arrays[f"{split}_image"]
    images = images if images.dim() == 4 else images[None]
    both = [released_pixels(image.permute(1, 2, 0).numpy()) for image in images]
    clip, guidance = zip(*both, strict=True)
    return torch.cat(clip), torch.cat(guidance)


def encode(loaded: LoadedModel, arrays: Arrays, split: str) -> Features:
    """Features of the recorded images."""
    return network(loaded).encode_resized(*pixels(arrays, split))


def banks(loaded: LoadedModel, tokens: Tensor) -> Tensor:
    """Recorded tokens int [rows, M, L] -> banks float [rows, M * D]."""
    text_encoder = loaded.query_encoder.text_encoder
    assert isinstance(text_encoder, PromptBankEncoder)
    return text_encoder(tokens.long().flatten(0, 1)).unflatten(0, tokens.shape[:2]).flatten(1)


def targets(family: str, arrays: Arrays) -> tuple[PartTargets, ObjectPartIndex]:
    """Recorded training labels by our numbers."""
    sizes, seen = toy(family), vocabulary(family).seen()
    parts, objects = (arrays[f"train_{key}"].long() for key in ("obj_part_sem_seg", "sem_seg"))
    rows = torch.full((256,), IGNORE)
    for number, name in enumerate(sizes["train_objects"]):
        if name in seen.objects_with_parts:
            rows[number] = seen.objects_with_parts.index(name)
    part_labels = torch.where(parts == sizes["ignore"], IGNORE, parts)
    index = ObjectPartIndex(
        torch.from_numpy(seen.part_index),
        len(seen.parts) + torch.from_numpy(seen.object_index),
        len(seen.parts),
    )
    assert tuple(sizes["train_object_parts"]) == tuple(f"{o}'s {p}" for o, p in seen.object_parts)
    return PartTargets(part_labels, rows[objects]), index
