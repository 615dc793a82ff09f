"""Toy networks of every family with random weights, for tests that need a model but not its knowledge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ovps_core.checkpoints import CheckpointInfo, LoadedModel, save_model
from ovps_core.checkpoints.file import full_state
from ovps_core.models.clipseg.model import CLIPSeg, CLIPSegConfig
from ovps_core.models.compact.model import PartFPN, PartFPNConfig
from ovps_core.models.families import FAMILIES
from ovps_core.models.interface import PartModel, QueryEncoder
from ovps_core.models.partclipseg.model import PartCLIPSeg, PartCLIPSegConfig

TOY_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"layers": 4, "width": 64, "head_width": 16, "patch_size": 16, "image_size": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
    "quick_gelu": True,
}
TOY: dict[str, Any] = {
    "clip": TOY_CLIP,
    "out_indices": (1, 2, 3),
    "image_size": 96,
    "dim": 16,
    "heads": 4,
    "mlp_dim": 32,
}


def _compact_config() -> PartFPNConfig:
    from ovps_core.synthetic.catalogue import HELD_OUT_OBJECT_PARTS, object_parts_of

    pairs = object_parts_of("tabletop")
    return PartFPNConfig(
        objects=tuple(dict.fromkeys(name for name, _ in pairs)),
        parts=tuple(sorted({part for _, part in pairs})),
        object_parts=tuple(pair for pair in pairs if pair not in HELD_OUT_OBJECT_PARTS),
        size=(64, 96),
        trunk="test_efficientnet",
        dim=16,
    )


def build(family: str, config: Any) -> LoadedModel:
    """A network with random weights, the same every time, and its query encoder."""
    torch.manual_seed(0)
    model, query_encoder = FAMILIES[family].build(config)
    model.eval()
    if query_encoder.text_encoder is not None:
        query_encoder.text_encoder.eval()
    return LoadedModel(model, query_encoder, CheckpointInfo(f"toy-{family}", family, config))


def toy(family: str) -> LoadedModel:
    """The toy of a family. The CLIP families have 2 million parameters, most of them token embeddings."""
    configs = {
        "clipseg": lambda: CLIPSegConfig(**TOY),
        "partclipseg": lambda: PartCLIPSegConfig(**TOY),
        "compact": _compact_config,
    }
    return build(family, configs[family]())


def toy_clipseg() -> CLIPSeg:
    """The network of the toy CLIPSeg."""
    model = toy("clipseg").model
    assert isinstance(model, CLIPSeg)
    return model


def toy_partclipseg() -> PartCLIPSeg:
    """The network of the toy PartCLIPSeg."""
    model = toy("partclipseg").model
    assert isinstance(model, PartCLIPSeg)
    return model


def toy_compact() -> PartFPN:
    """The network of the toy compact model, for the words of the tabletop scenes."""
    model = toy("compact").model
    assert isinstance(model, PartFPN)
    return model


TOY_MODELS = {
    "clipseg": toy_clipseg,
    "partclipseg": toy_partclipseg,
    "compact": toy_compact,
}


def encoder_of(model: PartModel) -> QueryEncoder:
    """The query encoder of a toy network."""
    families = {CLIPSeg: "clipseg", PartCLIPSeg: "partclipseg", PartFPN: "compact"}
    encoder = toy(families[type(model)]).query_encoder
    return encoder


def write_toy(family: str, path: Path) -> Path:
    """The toy of a family in a weights file."""
    model, query_encoder, info = toy(family)
    save_model(path, full_state(model, query_encoder), info)
    return path
