"""Forms of boxes: centre and size, or two corners."""

from __future__ import annotations

import torch
from torch import Tensor


def corners(boxes_cxcywh: Tensor) -> Tensor:
    """Boxes (cx, cy, w, h) float [..., 4] as (x1, y1, x2, y2)."""
    centres, sides = boxes_cxcywh.split(2, -1)
    return torch.cat([centres - sides / 2, centres + sides / 2], -1)


def centres_and_sizes(boxes_xyxy: Tensor) -> Tensor:
    """Boxes (x1, y1, x2, y2) float [..., 4] as (cx, cy, w, h)."""
    first, second = boxes_xyxy.split(2, -1)
    return torch.cat([(first + second) / 2, second - first], -1)
