"""Logits from a GPU to the host: only the boxes in which something is above the threshold cross the bus."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MARGIN = 1  # bilinear samples inside a mask read one coarse pixel beyond it
_NOTHING = -100.0  # a finite logit under every threshold: infinities spoil interpolation


def occupied_maps(logits: Tensor, threshold: float) -> NDArray[np.float32]:
    """Logits float [B, Q, h, w] on any device -> float32 [B, Q, h, w] on the host, true wherever it matters.

    A map's box of values above ``threshold``, with a margin, is copied; outside it every value is -100 or less
    than the threshold. Masks and scores cut from the two are equal. Two waits for the GPU a frame: the boxes (four
    numbers a map), then all crops in one copy.
    """
    batch, queries, height, width = logits.shape
    found = np.full((batch, queries, height, width), min(_NOTHING, threshold), dtype=np.float32)
    if not np.isfinite(threshold):
        return logits.float().cpu().numpy() if threshold < 0 else found
    boxes = _boxes(logits.flatten(0, 1) > threshold).cpu()
    spans = [
        (map_, slice(max(0, top - _MARGIN), bottom + _MARGIN), slice(max(0, left - _MARGIN), right + _MARGIN))
        for map_, (top, bottom, left, right) in enumerate(boxes.tolist())
        if bottom > top
    ]
    if not spans:
        return found
    maps = logits.flatten(0, 1)
    crops = [maps[span] for span in spans]
    flat = torch.cat([crop.reshape(-1) for crop in crops]).float().cpu().numpy()
    ends = np.cumsum([crop.numel() for crop in crops])
    canvas = found.reshape(batch * queries, height, width)
    for span, crop, values in zip(spans, crops, np.split(flat, ends[:-1]), strict=True):
        canvas[span] = values.reshape(crop.shape)
    return found


def _boxes(above: Tensor) -> Tensor:
    """bool [M, h, w] -> int64 [M, 4]: top, bottom, left, right of what is True, ends exclusive; 0 where nothing."""
    sides = []
    for dim in (2, 1):
        hits = above.any(dim=dim).to(torch.int8)
        length = hits.shape[1]
        first, last = hits.argmax(1), length - hits.flip(1).argmax(1)
        something = hits.amax(1) > 0
        sides += [first * something, last * something]
    return torch.stack(sides, 1)
