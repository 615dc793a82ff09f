"""The adapter on the tokens of CLIP that fine-tuning on parts adds to CLIPSeg."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VisualAdapter(nn.Module):
    """Adapter on CLIP's tokens, one for all layers: ``0.8 x + 0.2 ReLU(W2 ReLU(W1 x))``.

    The bottleneck is a quarter as wide as the tokens; there are no biases. Source: OV-PARTS (NeurIPS 2023), and
    PartCLIPSeg (NeurIPS 2024).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, dim // 4, bias=False)
        self.up = nn.Linear(dim // 4, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens float [..., dim] -> the same shape."""
        adapted = torch.relu(self.up(torch.relu(self.down(tokens))))
        return 0.8 * tokens + 0.2 * adapted
