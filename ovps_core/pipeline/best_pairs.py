"""Pairs of what two frames show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_UNLIKELY = 1e6


def best_pairs(similarities: NDArray[np.float64], minimum: float) -> dict[int, int]:
    """Pair rows with columns so that the sum of their similarities is largest (Kuhn, 1955).

    Args:
        similarities: float [N, M].
        minimum: least similarity of a pair.

    Returns:
        Row -> column.
    """
    from scipy.optimize import linear_sum_assignment

    fits = similarities >= minimum
    rows, columns = linear_sum_assignment(np.where(fits, -similarities, _UNLIKELY))
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if fits[r, c]}
