"""The most probable pixel of each query, also where no part is found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Peak:
    """The most probable pixel of a query.

    Attributes:
        probability: 0..1.
        x, y: the pixel in the full image.
    """

    probability: float
    x: int
    y: int


def find_peaks(logits: NDArray[np.float32], height: int, width: int) -> tuple[Peak, ...]:
    """Peaks of mask logits float32 [Q, h, w], one per query, in an image of ``height`` x ``width`` pixels."""
    rows, columns = logits.shape[1:]
    peaks = []
    for coarse in logits:
        row, column = divmod(int(coarse.argmax()), columns)
        probability = 1.0 / (1.0 + math.exp(-float(coarse[row, column])))
        x, y = int((column + 0.5) * width / columns), int((row + 0.5) * height / rows)
        peaks.append(Peak(probability, x, y))
    return tuple(peaks)
