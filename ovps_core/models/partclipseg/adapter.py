"""PartCLIPSeg's adapter on the tokens of CLIP."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VisualAdapter(nn.Module):
    """PartCLIPSeg's adapter on CLIP's tokens: ``0.8 x + 0.2 ReLU(W2 ReLU(W1 x))``.

    The bottleneck is a quarter as wide as the tokens; there are no biases.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, dim // 4, bias=False)
        self.up = nn.Linear(dim // 4, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens float [..., dim] -> the same shape."""
        adapted = torch.relu(self.up(torch.relu(self.down(tokens))))
        return 0.8 * tokens + 0.2 * adapted
