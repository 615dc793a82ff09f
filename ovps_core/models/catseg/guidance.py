"""Guidance: features of a second image backbone at the sizes of the aggregated maps and of the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.layers.norm_act import freeze_batch_norm_2d
from timm.models import FeatureInfo
from torch import Tensor, nn
from torch.func import functional_call

from ovps_core.models.catseg.config import CATSegConfig, GuidanceSpec

# Strides of the stages of a pyramid, for the aggregation and both steps of the decoder.
_STRIDES = (16, 8, 4)
# DINOv2 resizes its position table by a scale that is larger than the sizes' by this many cells.
_POSITION_OFFSET = 0.1


def build_guidance_tower(spec: GuidanceSpec, *, pretrained: bool = False) -> Any:
    """The timm model of a specification, for any input size.

    Args:
        spec: a name, or a mapping with ``name`` and other arguments of ``timm.create_model``.
        pretrained: load published weights, from the hub or its cache.
    """
    arguments = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = arguments.pop("name")
    tower: Any = timm.create_model(name, num_classes=0, pretrained=pretrained, **arguments)
    strides = [level["reduction"] for level in tower.feature_info]
    if len(set(strides)) > 1:
        stages = tuple(map(strides.index, reversed(_STRIDES)))
        pyramid = timm.create_model(
            name, pretrained=pretrained, features_only=True, out_indices=stages, **arguments
        )
        return freeze_batch_norm_2d(pyramid)  # as released: its statistics stay
    tower.patch_embed.strict_img_size = False  # GuidanceBackbone resizes the position table
    return tower


def resize_dino_positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resize a position table as DINOv2 does: bicubic, by a scale that its published weights were trained with.

    The scale is ``(n + 0.1) / side``, not ``n / side``, so the grid of samples differs from that of
    :func:`ovps_core.models.backbones.clip_vit.resize_positions`.

    Args:
        table: float [1, 1 + side * side, D]; the first row is that of the class token, which stays.
        grid: (rows, columns) wanted.

    Returns:
        float [1, 1 + rows * columns, D].
    """
    side = round((table.shape[1] - 1) ** 0.5)
    if grid == (side, side):
        return table
    patches = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = [(cells + _POSITION_OFFSET) / side for cells in grid]
    patches = F.interpolate(patches, scale_factor=scale, mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], patches.flatten(2).transpose(1, 2)], 1)


class _LastLayer(nn.Module):
    """The normalised patches of a ViT's last block; ``functional_call`` calls ``forward``."""

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, pixels: Tensor) -> Tensor:
        (last,) = self.vit.forward_intermediates(
            pixels, indices=1, norm=True, intermediates_only=True
        )
        return last


class GuidanceBackbone(nn.Module):
    """Features of a timm model at three resolutions.

    A ViT gives one map, the normalised last one, resized three times; its position table is resized as DINOv2's. A
    network with a pyramid gives the stages of strides 16, 8 and 4.

    Args:
        spec: see :func:`build_guidance_tower`.

    Attributes:
        widths: channels of the three maps.
    """

    def __init__(self, spec: GuidanceSpec) -> None:
        super().__init__()
        self.tower: Any = build_guidance_tower(spec)
        self.is_pyramid = isinstance(self.tower.feature_info, FeatureInfo)  # features only
        if self.is_pyramid:
            self.widths = tuple(reversed(self.tower.feature_info.channels()))
        else:
            self.widths = (self.tower.num_features,) * 3

    def forward(self, pixels: Tensor, grid: tuple[int, int]) -> list[Tensor]:
        """Normalised pixels float [B, 3, H, W] -> maps float [B, width, s * h, s * w] for s = 1, 2, 4."""
        maps = self.tower(pixels)[::-1] if self.is_pyramid else [self.last_layer(pixels)] * 3
        sizes = [(scale * grid[0], scale * grid[1]) for scale in (1, 2, 4)]
        return [
            F.interpolate(level, size=size, mode="bilinear", align_corners=False)
            for level, size in zip(maps, sizes, strict=True)
        ]

    def last_layer(self, pixels: Tensor) -> Tensor:
        """Normalised pixels float [B, 3, H, W] -> the normalised patches of a ViT float [B, width, h, w]."""
        patch = self.tower.patch_embed.patch_size
        grid = pixels.shape[-2] // patch[0], pixels.shape[-1] // patch[1]
        positions = resize_dino_positions(self.tower.pos_embed, grid)
        last: Tensor = functional_call(
            _LastLayer(self.tower), {"vit.pos_embed": positions}, (pixels,)
        )
        return last


class GuidanceProjection(nn.Module):
    """A 3x3 convolution with ReLU for each resolution of the guidance.

    Args:
        config: channels of the results.
        widths: channels of the three maps.
    """

    def __init__(self, config: CATSegConfig, widths: Sequence[int]) -> None:
        super().__init__()
        outs = (config.guidance_dim, *config.decoder_guidance_dims)
        self.convs = nn.ModuleList(
            nn.Conv2d(width, out, 3, padding=1) for width, out in zip(widths, outs, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Three maps float [B, width, h, w] -> three float [B, out, h, w] of the same sizes."""
        return [F.relu(conv(level)) for conv, level in zip(self.convs, maps, strict=True)]
