"""Layers whose input is joined with guidance that many rows share.

The product with the guidance is computed once and broadcast over the rows, in place of a concatenation for each.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class GuidedLinear(nn.Linear):
    """Linear layer of tokens and guidance, ``W [x; g] + b``.

    Args:
        width: channels of the tokens.
        guidance: channels of the guidance; 0 for none.
        out_features: channels of the result.
    """

    def __init__(self, width: int, guidance: int, out_features: int) -> None:
        super().__init__(width + guidance, out_features)
        self.width = width

    def forward(self, tokens: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Tokens float [..., width] and guidance float [..., guidance] that broadcasts to them -> [..., out]."""
        projected = F.linear(tokens, self.weight[:, : self.width], self.bias)
        if guidance is None:
            return projected
        return projected + F.linear(guidance, self.weight[:, self.width :])


class GuidedConv3x3(nn.Conv2d):
    """3x3 convolution of maps and guidance without a bias, ``W * [x; g]``.

    Args:
        width: channels of the maps.
        guidance: channels of the guidance; 0 for none.
        out_channels: channels of the result.
    """

    def __init__(self, width: int, guidance: int, out_channels: int) -> None:
        super().__init__(width + guidance, out_channels, 3, padding=1, bias=False)
        self.width = width

    def forward(self, maps: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Maps float [B, T, width, h, w] and guidance float [B, guidance, h, w] -> float [B, T, out, h, w]."""
        convolved = F.conv2d(maps.flatten(0, 1), self.weight[:, : self.width], padding=1)
        convolved = convolved.unflatten(0, maps.shape[:2])
        if guidance is None:
            return convolved
        return convolved + F.conv2d(guidance, self.weight[:, self.width :], padding=1)[:, None]
