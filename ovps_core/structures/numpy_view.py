"""NumPy view of a tensor's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def as_numpy_view(tensor: Tensor) -> Any:
    """The tensor's own memory as a NumPy array; the tensor itself if it lies on a GPU.

    For small computations between two engine calls: after each parallel operation PyTorch's threads spin for
    milliseconds on cores that the next engine needs (docs/performance.md has the cost). NumPy has no such threads.
    """
    return tensor if tensor.is_cuda else tensor.detach().numpy()
