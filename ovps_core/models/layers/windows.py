"""Windows of a feature map, and the mask of a cyclic shift (Liu et al., "Swin Transformer", ICCV 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_BLOCKED = -100.0  # logit of cells that the cyclic shift brought from another side of the map


def shifted_window_mask(cells: Tensor, window: int) -> Tensor:
    """Mask float [windows, n, n] that keeps cells apart which only the cyclic shift made neighbours.

    Args:
        cells: float [B, h, w, width], before padding to whole windows.
        window: side of a window; the shift is half of it.
    """
    sides = [-(-length // window) * window for length in cells.shape[1:3]]
    regions = []
    for side in sides:
        position = torch.arange(side, device=cells.device)
        regions.append((position >= side - window).int() + (position >= side - window // 2).int())
    rows, columns = regions
    labels = to_windows((rows[:, None] * 3 + columns)[None, ..., None], window)[0, ..., 0]
    apart = labels[:, :, None] != labels[:, None]
    return apart.to(cells.dtype) * _BLOCKED


def to_windows(cells: Tensor, window: int) -> Tensor:
    """Cells [B, h, w, C] -> [B, windows, window * window, C]."""
    split = cells.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return split.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def from_windows(windows: Tensor, window: int, size: Sequence[int]) -> Tensor:
    """Inverse of :func:`to_windows` for a map of ``size`` (h, w)."""
    rows, columns = size[0] // window, size[1] // window
    split = windows.unflatten(2, (window, window)).unflatten(1, (rows, columns))
    return split.transpose(2, 3).flatten(3, 4).flatten(1, 2)
