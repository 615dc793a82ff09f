"""Small work on maps beside an engine, without waking PyTorch's threads."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def as_numpy_view(tensor: Tensor) -> Any:
    """``tensor`` to compute with between engines: NumPy's view of the same memory on a CPU, itself on a GPU.

    After each parallel operation PyTorch's threads spin for milliseconds, on cores that another engine wants for
    its network (docs/performance.md has what that cost). NumPy has none.
    """
    return tensor if tensor.is_cuda else tensor.detach().numpy()
