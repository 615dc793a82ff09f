"""Sine encodings of positions and boxes, and the inverse of the sigmoid that boxes are refined in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TEMPERATURE = 10000.0
_LEAST = 1e-5  # distance to 0 and 1 from which boxes have a logit of use


def inverse_sigmoid(values: Tensor) -> Tensor:
    """Logit of values in 0..1; values closer than 1e-5 to 0 or 1 are moved to that distance."""
    values = values.clamp(0, 1)
    return torch.log(values.clamp(min=_LEAST) / (1 - values).clamp(min=_LEAST))


def sine_encoding(angles: Tensor, channels: int) -> Tensor:
    """Sines and cosines of falling frequencies, interleaved: float [...] -> float [..., channels]."""
    exponents = torch.arange(channels, dtype=torch.float32, device=angles.device)
    frequencies = _TEMPERATURE ** (2 * (exponents // 2) / channels)
    phases = angles[..., None] / frequencies.to(angles.dtype)
    return torch.stack([phases[..., 0::2].sin(), phases[..., 1::2].cos()], -1).flatten(-2)


def grid_encoding(size: tuple[int, int], channels: int, like: Tensor) -> Tensor:
    """Encoding of each cell of a grid, float [rows, columns, channels]: row half, then column half.

    Args:
        size: (rows, columns).
        channels: number of channels, even.
        like: tensor with the dtype and device of the result.
    """
    halves = []
    for length in size:
        steps = torch.arange(1, length + 1, dtype=torch.float32, device=like.device)
        encoding = sine_encoding(steps / (length + 1e-6) * (2 * math.pi), channels // 2)
        halves.append(encoding.to(like.dtype))
    rows, columns = halves
    rows = rows[:, None].expand(-1, size[1], -1)
    return torch.cat([rows, columns[None].expand(size[0], -1, -1)], -1)


def box_encoding(boxes: Tensor, channels: int) -> Tensor:
    """Encoding of boxes (cx, cy, w, h) in 0..1, float [..., 4] -> [..., 4 * channels], in the order y, x, w, h."""
    encoded = sine_encoding(boxes * (2 * math.pi), channels)
    cx, cy, width, height = encoded.unbind(-2)
    return torch.cat([cy, cx, width, height], -1)
