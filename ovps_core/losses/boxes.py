"""Overlap of boxes: generalised IoU (Rezatofighi et al., CVPR 2019)."""

from __future__ import annotations

import torch
from torch import Tensor


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU, -1 to 1, of boxes (x1, y1, x2, y2) float [..., 4] that broadcast against each other.

    >>> boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 2, 1]])
    >>> generalised_iou(boxes[0], boxes[1]).item()
    0.5
    """
    overlap = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - overlap
    hull = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    return overlap / union - (hull - union) / hull


def _area(first: Tensor, second: Tensor) -> Tensor:
    return (second - first).clamp(min=0).prod(-1)
