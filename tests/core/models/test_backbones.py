"""Any open_clip or timm image tower can carry the decoder; widths, taps and patch size come from it."""

from __future__ import annotations

import pytest
import torch
from helpers.toy_models import TOY_CLIP, build

from ovps_core.language.parser import parse_queries
from ovps_core.models.backbones.clip_vit import build_clip, clip_backbone
from ovps_core.models.partclipseg.model import PartCLIPSeg, PartCLIPSegConfig

CLIP_TOWERS = ["PE-Core-T-16-384", "MobileCLIP2-S0", "MobileCLIP2-B"]
TIMM_TOWERS = ["vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_small_patch16_dinov3"]


@pytest.mark.parametrize("name", TIMM_TOWERS)
@torch.no_grad()
def test_every_timm_tower_carries_the_decoder(name: str) -> None:
    config = PartCLIPSegConfig(clip=TOY_CLIP, backbone=name, dim=16, mlp_dim=32)
    model, query_encoder, _ = build("partclipseg", config)
    assert isinstance(model, PartCLIPSeg)
    encoded = query_encoder.encode(parse_queries("knife handle, rim"))
    stride = model.backbone.stride
    for height, width in ((4 * stride, 4 * stride), (6 * stride, 8 * stride)):
        logits = model.decode(model.encode(torch.randn(1, 3, height, width)), encoded.conditions)
        assert logits.object_parts.shape == (1, 1, height, width)
        assert logits.names.shape[1] == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIP_TOWERS)
@torch.no_grad()
def test_every_clip_tower_gives_tokens_of_its_grid(name: str) -> None:
    backbone = clip_backbone(build_clip(name).visual).eval()
    assert len(backbone.out_indices) == len(backbone.widths) == 3
    for height, width in ((128, 128), (128, 192)):
        rows, columns = backbone.grid(height, width)
        taps = backbone(torch.randn(1, 3, height, width))
        shapes = [tuple(tap.shape) for tap in taps]
        assert shapes == [(1, backbone.prefix + rows * columns, w) for w in backbone.widths]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stride", "width", "taps"),
    [("ViT-B-16-quickgelu", 16, 768, (3, 6, 9)), ("ViT-L-14", 14, 1024, (6, 12, 18))],
)
def test_sizes_come_from_the_tower(
    name: str, stride: int, width: int, taps: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        backbone = clip_backbone(build_clip(name).visual)
    assert (backbone.stride, backbone.widths, backbone.out_indices) == (stride, (width,) * 3, taps)
