"""NumPy and PyTorch arrays alike; PyTorch is not imported here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def as_numpy_view(tensor: Any) -> Any:
    """View a tensor's memory as a NumPy array; an array, and a tensor on a GPU, are returned unchanged.

    Use it for small computations between two engine calls. After each parallel operation PyTorch's threads spin
    for milliseconds on cores that the next engine needs; docs/performance.md has the cost. NumPy has no such
    threads.
    """
    if isinstance(tensor, np.ndarray) or tensor.is_cuda:
        return tensor
    return tensor.detach().numpy()


def new_empty(shape: Sequence[int], *, like: Any) -> Any:
    """Uninitialised array or tensor of a shape, of the kind, type and device of ``like``."""
    if isinstance(like, np.ndarray):
        return np.empty(shape, like.dtype)
    return like.new_empty(shape)
