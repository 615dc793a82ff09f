"""Recorded arrays of original implementations; a test is skipped where a seed lacks what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

Value = TypeVar("Value")


class Recording(dict[str, Value]):
    """Recorded values by name. Reading a missing one skips the test; ask with ``in`` for optional ones."""

    def __missing__(self, key: str) -> NoReturn:
        pytest.skip(f"not recorded: {key}")


def recorded_arrays(path: Path) -> Recording[NDArray[Any]]:
    """The arrays of an .npz file."""
    with np.load(path) as arrays:
        return Recording(arrays)


def recorded_tensors(path: Path) -> Recording[Tensor]:
    """The arrays of an .npz file, as tensors."""
    return Recording({key: torch.from_numpy(value) for key, value in recorded_arrays(path).items()})


def recorded_items(recorded: Recording[Any], *names: str) -> list[str]:
    """Numbers of the items that have any of the arrays ``NAME0``, ``NAME1`` ...; skips the test if none has."""
    found = {key.removeprefix(name) for key in recorded for name in names if key.startswith(name)}
    if not found:
        pytest.skip(f"not recorded: {', '.join(names)}")
    return sorted(found, key=int)


def recorded_content(path: Path) -> Recording[Any]:
    """The content of a .pt file, in which mappings are recordings too; skips the test if there is no file."""
    if not path.is_file():
        pytest.skip(f"not recorded: {path.name}")
    content: Recording[Any] = _wrapped(torch.load(path, weights_only=True))
    return content


def _wrapped(value: Any) -> Any:
    if isinstance(value, dict):
        return Recording({key: _wrapped(each) for key, each in value.items()})
    if type(value) in (list, tuple):  # not a torch.Size
        return type(value)(_wrapped(each) for each in value)
    return value
