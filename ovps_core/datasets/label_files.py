"""Images, label maps and masks out of files, with errors that name the file and what is wrong with it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as coco_mask

from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import IGNORE

ROOT_VARIABLE = "DETECTRON2_DATASETS"


def find_root(root: str | Path | None) -> Path:
    """The folder that holds the benchmarks: ``root``, else $DETECTRON2_DATASETS, else ./datasets."""
    return Path(root or os.environ.get(ROOT_VARIABLE) or "datasets")


def require(base: Path, needed: Iterable[str], layout: str) -> None:
    """Check that a data set is unpacked as it should be.

    Args:
        base: the data set's folder.
        needed: files, and folders that must not be empty, relative to ``base``.
        layout: how the folder should look, for the message.

    Raises:
        DatasetError: something is not there; the message names the first such path.
    """
    for name in needed:
        path = base / name
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            continue
        problem = "is an empty folder" if path.is_dir() else "is missing"
        raise DatasetError(
            f"{path} {problem}. Unpack the data set so that {base} looks like this:\n{layout}\n"
            f"The folder above it is --root, else ${ROOT_VARIABLE}, else ./datasets."
        )


def require_each(paths: Iterable[Path], because: str) -> None:
    """Check that every file is there, as a half-unpacked archive leaves some out.

    Raises:
        DatasetError: some are not; the message names the first and counts them.
    """
    listed: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        if path.parent not in listed:
            listed[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        if path.name not in listed[path.parent]:
            missing.append(path)
    if missing:
        raise DatasetError(
            f"{missing[0]} is missing, and {len(missing) - 1} more files like it, though {because}: "
            "the data set is only half unpacked. Unpack it again."
        )


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as JSON: {error}.") from error


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image file as RGB uint8 [H, W, 3].

    Raises:
        DatasetError: it is missing or damaged.
    """
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise DatasetError(f"{path} cannot be read as an image: {error}.") from error


def read_labels(path: Path) -> NDArray[np.int32]:
    """A label map (8 or 16 bit grey PNG, or a palette PNG) as its raw values, int32 [H, W].

    Raises:
        DatasetError: it is missing, damaged, or has colour channels.
    """
    try:
        with Image.open(path) as picture:
            labels = np.array(picture)
    except (OSError, UnidentifiedImageError) as error:
        raise DatasetError(f"{path} cannot be read as a label map: {error}.") from error
    if labels.ndim != 2:
        raise DatasetError(
            f"{path} has shape {labels.shape}; a label map has one channel whose value is the class index."
        )
    return labels.astype(np.int32)


def relabel(
    labels: NDArray[np.int32], table: NDArray[np.int32], ignore_label: int, source: Path
) -> NDArray[np.int32]:
    """Raw label values into our rows: ``table[value]``, and :data:`IGNORE` where unlabelled.

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


def decode_segmentation(
    segmentation: Any, height: int, width: int, source: str
) -> NDArray[np.bool_]:
    """One COCO ``segmentation`` (polygons, or run lengths packed or plain) as a mask, bool [height, width].

    Raises:
        DatasetError: it is none of these, or of another size.
    """
    mask = np.zeros((height, width), dtype=bool)
    if not segmentation:
        return mask
    try:
        if isinstance(segmentation, list):
            runs = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        elif isinstance(segmentation["counts"], list):
            runs = coco_mask.frPyObjects(segmentation, height, width)
        else:
            runs = segmentation
        decoded = coco_mask.decode(runs).astype(bool)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DatasetError(
            f"{source}: the segmentation is neither polygons nor run lengths of COCO ({error})."
        ) from error
    if decoded.shape != mask.shape:
        raise DatasetError(f"{source}: the mask is {decoded.shape}, the image ({height}, {width}).")
    return decoded


def encode_segmentation(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """The COCO ``segmentation`` of a mask bool [H, W]: its size and its packed run lengths, ready for JSON."""
    packed = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": packed["counts"].decode()}
