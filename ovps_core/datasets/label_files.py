"""Files and folders of data sets; every error names the file and what was expected."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import IGNORE
from ovps_core.structures.cache_folder import expand_home

ROOT_ENVIRONMENT_VARIABLE = "DETECTRON2_DATASETS"
"""Names the folder of all benchmarks, as in detectron2."""


def benchmark_root(root: str | Path | None) -> Path:
    """Return the folder of all benchmarks: ``root``, $DETECTRON2_DATASETS, or ./datasets."""
    return expand_home(root or os.environ.get(ROOT_ENVIRONMENT_VARIABLE) or "datasets")


def require_layout(base: Path, needed: Iterable[str], layout: str) -> None:
    """Check that the files and folders of a data set exist.

    Args:
        base: the data set's folder.
        needed: files and non-empty folders, relative to ``base``.
        layout: the expected layout, for the message.

    Raises:
        DatasetError: one is missing; the message names the first such path and the layout.
    """
    for name in needed:
        path = base / name
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            continue
        problem = "is an empty folder" if path.is_dir() else "is missing"
        raise DatasetError(
            f"{path} {problem}. Unpack the data set so that {base} looks like this:\n{layout}\n"
            f"The folder above it is --root, else ${ROOT_ENVIRONMENT_VARIABLE}, else ./datasets."
        )


def require_files(paths: Iterable[Path], reason: str) -> None:
    """Check that every listed file exists; a half-unpacked archive lacks some.

    Args:
        paths: the files.
        reason: why they are expected, for the message, such as "val.json lists it".

    Raises:
        DatasetError: some are missing; the message names the first and counts them.
    """
    # One listing of a folder is far faster than a query for each of its files.
    listed: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        if path.parent not in listed:
            listed[path.parent] = (
                set(os.listdir(path.parent)) if os.path.isdir(path.parent) else set()
            )
        if path.name not in listed[path.parent]:
            missing.append(path)
    if missing:
        raise DatasetError(
            f"{missing[0]} is missing, although {reason}; {len(missing) - 1} more files are missing too. "
            "Unpack the data set again."
        )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DatasetError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())  # bytes: a byte order mark and UTF-16 are recognised
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as JSON: {error}.") from error


def relabel(
    labels: NDArray[np.int32], table: NDArray[np.int32], ignore_label: int, source: Path
) -> NDArray[np.int32]:
    """Replace raw label values by ``table[value]``, and unlabelled pixels by :data:`IGNORE`.

    Args:
        labels: int32 [H, W], raw values.
        table: int32 [K], the new value of each raw value.
        ignore_label: raw value of an unlabelled pixel.
        source: file of the labels, for the message.

    Raises:
        DatasetError: a value is neither a class nor ``ignore_label``.
    """
    labelled = labels != ignore_label
    values = labels[labelled]
    if values.size and values.max() >= len(table):
        raise DatasetError(
            f"{source} has the value {values.max()}; expected 0..{len(table) - 1}, "
            f"or {ignore_label} for unlabelled pixels."
        )
    result = np.full(labels.shape, IGNORE, dtype=np.int32)
    result[labelled] = table[values]
    return result
