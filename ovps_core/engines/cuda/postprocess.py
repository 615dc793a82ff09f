"""Copy of mask logits from a CUDA device: only the boxes with values above the threshold cross the bus."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MARGIN = 1  # bilinear samples inside a mask read one coarse pixel beyond it
_BACKGROUND = -100.0  # a finite logit below every threshold: infinities spoil interpolation
_SHARE = 4  # a quarter of all pixels crosses at once; boxes of parts are smaller
_MAX_VALUES = 1 << 22  # 16 MB of float32, however many queries there are


def occupied_maps(logits: Tensor, threshold: float) -> NDArray[np.float32]:
    """Logits float [B, Q, h, w] on any device -> float32 [B, Q, h, w] on the host, exact above ``threshold``.

    Of each map the box around all values above ``threshold`` is copied, with a margin. Elsewhere the result is
    -100, or ``threshold`` if that is lower. Masks and scores cut from the result equal those of the whole maps.

    The host waits once: the boxes and their values travel in one buffer of fixed size. If the boxes hold more than
    a quarter of all pixels, or 16 MB, the whole maps follow in a second copy.
    """
    if not np.isfinite(threshold):
        if threshold < 0:
            return logits.float().cpu().numpy()
        return np.full(logits.shape, _BACKGROUND, dtype=np.float32)
    maps = logits.flatten(0, 1).float()
    boxes = _boxes(maps > threshold)
    together = torch.cat([boxes.flatten().view(torch.float32), _packed(maps, boxes)]).cpu().numpy()
    edges, values = np.split(together, [boxes.numel()])
    found = np.full(maps.shape, min(_BACKGROUND, threshold), dtype=np.float32)
    start = 0
    for one, (top, bottom, left, right) in zip(
        found, edges.view(np.int32).reshape(-1, 4), strict=True
    ):
        crop = one[top:bottom, left:right]
        if start + crop.size > values.size:
            return logits.float().cpu().numpy()
        crop[...] = values[start : start + crop.size].reshape(crop.shape)
        start += crop.size
    return found.reshape(logits.shape)


def _boxes(above: Tensor) -> Tensor:
    """Boxes around True values, with a margin: bool [M, h, w] -> int32 [M, 4], top, bottom, left, right.

    Ends are exclusive; a map without True values has a box of zeros.
    """
    sides = []
    for dim in (2, 1):
        hits = above.any(dim=dim).to(torch.int8)
        length = hits.shape[1]
        occupied = hits.amax(1) > 0
        first = (hits.argmax(1) - _MARGIN).clamp(min=0)
        last = (length - hits.flip(1).argmax(1) + _MARGIN).clamp(max=length)
        sides += [first * occupied, last * occupied]
    return torch.stack(sides, 1).to(torch.int32)


def _packed(maps: Tensor, boxes: Tensor) -> Tensor:
    """Values in the boxes of float32 [M, h, w], one after the other, as far as they fit: float32 [capacity].

    All shapes are known beforehand, so the host does not wait for the GPU.
    """
    height, width = maps.shape[1:]
    top, bottom, left, right = boxes[:, :, None, None].unbind(1)
    row = torch.arange(height, device=maps.device)[:, None]
    column = torch.arange(width, device=maps.device)
    inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    capacity = min(-(-maps.numel() // _SHARE), _MAX_VALUES)
    place = inside.flatten().cumsum(0) - 1
    # The last place takes the rest.
    place = torch.where(inside.flatten() & (place < capacity), place, capacity)
    return maps.new_zeros(capacity + 1).scatter_(0, place, maps.flatten())[:capacity]
