"""Decoder of aggregated maps: two upsampling steps guided by features of the image, and the mask logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.models.catseg.config import CATSegConfig
from ovps_core.models.layers.guided import GuidedConv3x3

_GROUP = 16  # channels per group of the normalisation


class GuidedUpsampling(nn.Module):
    """Upsampling of the maps of each class to twice their size, then two convolutions with guidance.

    Args:
        width: channels of the maps.
        out: channels of the result.
        guidance: channels of the guidance, by which the upsampled maps are narrower than ``width``; 0 for none.
    """

    def __init__(self, width: int, out: int, guidance: int) -> None:
        super().__init__()
        groups = max(1, out // _GROUP)
        self.up = nn.ConvTranspose2d(width, width - guidance, 2, 2)
        self.conv1 = GuidedConv3x3(width - guidance, guidance, out)
        self.norm1 = nn.GroupNorm(groups, out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(groups, out)

    def forward(self, maps: Tensor, guidance: Tensor | None) -> Tensor:
        """Maps float [B, T, width, h, w], guidance [B, guidance, 2h, 2w] -> float [B, T, out, 2h, 2w]."""
        classes = maps.shape[:2]
        upsampled = self.up(maps.flatten(0, 1)).unflatten(0, classes)
        hidden = F.relu(self.norm1(self.conv1(upsampled, guidance).flatten(0, 1)))
        return F.relu(self.norm2(self.conv2(hidden))).unflatten(0, classes)


class GuidedDecoder(nn.Module):
    """Two :class:`GuidedUpsampling` steps and a convolution to one logit per pixel.

    Args:
        config: sizes.
        guidance: channels of the guidance of each step; 0 for none.
    """

    def __init__(self, config: CATSegConfig, guidance: tuple[int, int]) -> None:
        super().__init__()
        first, second = config.decoder_dims
        self.steps = nn.ModuleList(
            (
                GuidedUpsampling(config.dim, first, guidance[0]),
                GuidedUpsampling(first, second, guidance[1]),
            )
        )
        self.head = nn.Conv2d(second, 1, 3, padding=1)

    def forward(self, maps: Tensor, guidance: tuple[Tensor | None, Tensor | None]) -> Tensor:
        """Maps float [B, T, dim, h, w] and guidance at 2 and 4 times their size -> logits float [B, T, 4h, 4w]."""
        for step, shared in zip(self.steps, guidance, strict=True):
            maps = step(maps, shared)
        return self.head(maps.flatten(0, 1)).squeeze(1).unflatten(0, maps.shape[:2])
