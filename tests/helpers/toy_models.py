"""Toy networks of every family with random weights, for tests that need a model but not its knowledge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from ovps_core.checkpoints import CheckpointInfo, LoadedModel, save_model
from ovps_core.checkpoints.file import full_state
from ovps_core.models.catseg.config import CATSegConfig
from ovps_core.models.catseg.model import CATSeg
from ovps_core.models.clipseg.model import CLIPSeg, CLIPSegConfig
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.models.compact.model import PartFPN
from ovps_core.models.families import FAMILIES
from ovps_core.models.network import PartModel
from ovps_core.models.openseed.config import OpenSeeDConfig, SwinConfig, TextConfig
from ovps_core.models.openseed.model import OpenSeeD
from ovps_core.models.partcatseg.model import PartCATSeg, PartCATSegConfig
from ovps_core.models.partclipseg.model import PartCLIPSeg, PartCLIPSegConfig

Network = TypeVar("Network", bound=PartModel)
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


TOY_COSTS: dict[str, Any] = {
    "clip": {**TOY_CLIP, "vision_cfg": {**TOY_CLIP["vision_cfg"], "head_width": 64}},
    "image_size": 96,
    "guidance": {
        "name": "vit_small_patch14_dinov2",
        "img_size": 70,
        "embed_dim": 64,
        "depth": 2,
        "num_heads": 1,
    },
    "guidance_size": 112,
    "templates": 3,
    "dim": 32,
    "layers": 1,  # with both kinds of windows; the export of a decoder takes 16 s for each layer
    "window": 3,
    "guidance_dim": 16,
    "text_guidance_dim": 16,
    "decoder_dims": (32, 16),
    "decoder_guidance_dims": (12, 8),
}


def _openseed_config() -> OpenSeeDConfig:
    return OpenSeeDConfig(
        backbone=SwinConfig(width=8, depths=(1, 1, 2, 1), heads=(1, 2, 4, 8), window=4),
        text=TextConfig(context_length=18, width=64, heads=1, layers=2),
        text_dim=32,
        dim=64,
        mlp_dim=64,
        encoder_layers=2,
        decoder_layers=2,
        stuff_queries=100,
        max_instances=300,
        short_side=64,
        max_side=128,
    )


def _compact_config() -> PartFPNConfig:
    from ovps_core.synthetic.catalogue import HELD_OUT_OBJECT_PARTS, object_parts_of

    pairs = object_parts_of("tabletop")
    return PartFPNConfig(
        objects=tuple(dict.fromkeys(name for name, _ in pairs)),
        parts=tuple(sorted({part for _, part in pairs})),
        object_parts=tuple(pair for pair in pairs if pair not in HELD_OUT_OBJECT_PARTS),
        size=(64, 128),
        trunk="test_efficientnet",
        dim=16,
        half_scale=True,
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
        "catseg": lambda: CATSegConfig(**TOY_COSTS),
        "partcatseg": lambda: PartCATSegConfig(**TOY_COSTS),
        "openseed": _openseed_config,
    }
    return build(family, configs[family]())


def _network(family: str, kind: type[Network]) -> Network:
    """The network of a family's toy model."""
    model = toy(family).model
    assert isinstance(model, kind)
    return model


def toy_clipseg() -> CLIPSeg:
    """The network of the toy CLIPSeg."""
    return _network("clipseg", CLIPSeg)


def toy_partclipseg() -> PartCLIPSeg:
    """The network of the toy PartCLIPSeg."""
    return _network("partclipseg", PartCLIPSeg)


def toy_compact() -> PartFPN:
    """The network of the toy compact model, for the words of the tabletop scenes."""
    return _network("compact", PartFPN)


def toy_openseed() -> OpenSeeD:
    """The network of the toy OpenSeeD; layers that start at zero have weights, so that boxes and points move."""
    model = _network("openseed", OpenSeeD)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return model


def toy_catseg() -> CATSeg:
    """The network of the toy CAT-Seg."""
    return _network("catseg", CATSeg)


def toy_partcatseg() -> PartCATSeg:
    """The network of the toy PartCATSeg."""
    return _network("partcatseg", PartCATSeg)


TOY_MODELS: dict[str, Callable[[], PartModel]] = {
    "clipseg": toy_clipseg,
    "partclipseg": toy_partclipseg,
    "catseg": toy_catseg,
    "partcatseg": toy_partcatseg,
    "compact": toy_compact,
    "openseed": toy_openseed,
}


def write_toy(family: str, path: Path) -> Path:
    """The toy of a family in a weights file."""
    model, query_encoder, info = toy(family)
    save_model(path, full_state(model, query_encoder), info)
    return path
