"""Small real networks with random weights, for tests that need a model but not its knowledge."""

from __future__ import annotations

from pathlib import Path

import torch

from ovps_core.checkpoints.file import CheckpointInfo, save_model
from ovps_core.models.clipseg.model import CLIPSeg, CLIPSegConfig
from ovps_core.models.compact.model import PartFPN, PartFPNConfig
from ovps_core.models.partclipseg.model import PartCLIPSeg, PartCLIPSegConfig

TOY_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"layers": 4, "width": 64, "head_width": 16, "patch_size": 16, "image_size": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
    "quick_gelu": True,
}
SMALL = {
    "clip": TOY_CLIP,
    "taps": (1, 2, 3),
    "image_size": 96,
    "dim": 16,
    "heads": 4,
    "mlp_dim": 32,
}


def toy_clipseg() -> CLIPSeg:
    """A CLIPSeg of 2 million parameters, most of them token embeddings."""
    torch.manual_seed(0)
    return CLIPSeg(CLIPSegConfig(**SMALL)).eval()


def toy_partclipseg() -> PartCLIPSeg:
    """A PartCLIPSeg of the same size."""
    torch.manual_seed(0)
    return PartCLIPSeg(PartCLIPSegConfig(**SMALL)).eval()


def toy_compact() -> PartFPN:
    """A tiny network, tinier still, for the words of the tabletop scenes."""
    from ovps_core.synthetic.catalogue import HELD_OUT_PAIRS, pairs_of

    torch.manual_seed(0)
    pairs = pairs_of("tabletop")
    config = PartFPNConfig(
        objects=tuple(dict.fromkeys(name for name, _ in pairs)),
        parts=tuple(sorted({part for _, part in pairs})),
        pairs=tuple(pair for pair in pairs if pair not in HELD_OUT_PAIRS),
        size=(64, 96),
        trunk="test_efficientnet",
        dim=16,
    )
    return PartFPN(config).eval()


TOY_MODELS = {
    "clipseg": toy_clipseg,
    "partclipseg": toy_partclipseg,
    "tiny": toy_compact,
}


def write_toy(kind: str, path: Path) -> Path:
    """The small network of that kind in a file of ours."""
    model = TOY_MODELS[kind]()
    save_model(path, model.state_dict(), CheckpointInfo(f"small-{kind}", kind, model.config))
    return path
