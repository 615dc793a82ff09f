"""NumPy view of a tensor's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def as_numpy_view(tensor: Tensor) -> Any:
    """View a tensor's memory as a NumPy array; a tensor on a GPU is returned unchanged.

    Use it for small computations between two engine calls. After each parallel operation PyTorch's threads spin
    for milliseconds on cores that the next engine needs; docs/performance.md has the cost. NumPy has no such
    threads.
    """
    return tensor if tensor.is_cuda else tensor.detach().numpy()
