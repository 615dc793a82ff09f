"""Exact emulation of the released PartCLIPSeg evaluation, for comparison with published numbers only.

It differs from the clean protocol in three ways, and each changes the numbers a little. Labels are resized and
back, which shifts them by a pixel. Items without part labels are replaced by random other items. Boundary IoU
is computed on differences of class indices; :mod:`ovps_core.evaluation.metrics` has the correct definition.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ovps_core.evaluation.metrics import (
    BOUNDARY_RATIO,
    confusion_matrix,
    harmonic_miou,
    mean_of_valid,
    recall_per_class,
)
from ovps_core.evaluation.protocols import Setting

REPLACEMENT_SEED = 42


def nearest_resize(labels: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    """Resize a label map int32 [H, W] to (h, w) ``size`` with torch's "nearest" (floor indexing)."""
    resized = functional.interpolate(
        torch.as_tensor(labels)[None, None].double(), size=size, mode="nearest"
    )
    return resized[0, 0].numpy().astype(np.int32)


def released_size(size: tuple[int, int], sides: tuple[int, int]) -> tuple[int, int]:
    """(height, width) to which the released code resizes an image.

    Args:
        size: (height, width) of the image.
        sides: length of the short side, and maximum of the long one, pixels.
    """
    scale = min(sides[0] / min(size), sides[1] / max(size))
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def shifted_labels(
    labels: NDArray[np.int32], sides: tuple[int, int] = (800, 1333)
) -> NDArray[np.int32]:
    """Resize a label map int32 [H, W] to the sides of :func:`released_size` and back.

    Both steps round down, so in smaller images most rows and columns move by one pixel.
    """
    size = released_size((labels.shape[0], labels.shape[1]), sides)
    return nearest_resize(nearest_resize(labels, size), labels.shape)


class RandomReplacement:
    """Random replacement of items without part labels, drawn with seed 42."""

    def __init__(self, items: int) -> None:
        """Start with all of ``items`` items as candidates."""
        self._random = random.Random(REPLACEMENT_SEED)
        self._candidates = set(range(items))

    def draw(self, index: int) -> int | None:
        """Remove ``index`` from the candidates and draw one of the others; None if none is left."""
        self._candidates.discard(index)
        return self._random.sample(sorted(self._candidates), 1)[0] if self._candidates else None


def boundary_labels(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Subtract the eroded label map from the label map, mod 256.

    The released code counts the differences as if they were classes.

    Args:
        labels: [H, W], class indices; values above 255 wrap.
    """
    narrow = labels.astype(np.uint8)
    iterations = max(1, round(BOUNDARY_RATIO * float(np.hypot(*labels.shape))))
    padded = cv2.copyMakeBorder(narrow, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=iterations)[1:-1, 1:-1]
    return (narrow - eroded).astype(np.int64)


def boundary_confusion(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Count the confusion matrix of :func:`boundary_labels`, int64 [num_classes, num_classes]."""
    return confusion_matrix(boundary_labels(predicted), boundary_labels(truth), num_classes)


def released_metrics(
    confusion: NDArray[np.int64],
    boundary: NDArray[np.int64],
    setting: Setting,
    names: Sequence[str],
    seen: Collection[int],
) -> dict[str, float]:
    """Compute every metric of the released evaluator under its own key.

    Args:
        confusion: int64 [T+1, T+1], rows predicted, columns true; the last class is "no part".
        boundary: int64 [T+1, T+1], the same of boundary labels.
        setting: the released code treats the last class differently in each.
        names: T class names, for the keys of single classes.
        seen: indices of the seen classes.

    Returns:
        Percentages by key, such as "mIoU-base"; NaN where undefined.
    """
    if setting is Setting.ORACLE_OBJ:
        confusion, boundary = confusion[:-1, :-1], boundary[:-1, :-1]
    else:
        confusion = confusion.copy()
        confusion[:, -1] = 0
    true, hits = confusion.sum(axis=0), np.diag(confusion)
    iou = iou_of_any(confusion)
    if setting is Setting.ORACLE_OBJ:
        iou[true == 0] = np.nan
    recall, boundary_iou = recall_per_class(confusion), iou_of_any(boundary)
    metrics = {
        "mIoU": mean_of_valid(iou),
        "fwIoU": float(np.nansum(iou * true) / max(true.sum(), 1)),
        "mACC": mean_of_valid(recall),
        "pACC": float(hits.sum() / true.sum()) if true.sum() else float("nan"),
        "mRecall": mean_of_valid(recall),
    }
    for index, name in enumerate(names):
        metrics[f"IoU-{name}"] = float(iou[index])
        metrics[f"ACC-{name}"] = metrics[f"Recall-{name}"] = float(recall[index])
        metrics[f"BoundaryIoU-{name}"] = float(boundary_iou[index])
    in_base = np.isin(np.arange(len(iou)), list(seen))
    for group, members in (("base", in_base), ("unbase", ~in_base)):
        labelled = members & (true > 0)
        metrics[f"mIoU-{group}"] = mean_of_valid(iou[labelled])
        pixels = true[members].sum()
        metrics[f"pAcc-{group}"] = float(hits[members].sum() / pixels) if pixels else float("nan")
        metrics[f"mRecall-{group}"] = mean_of_valid(recall[members])
        metrics[f"Boundary-mIoU-{group}"] = mean_of_valid(boundary_iou[members])
    percent = {key: 100 * value for key, value in metrics.items()}
    for key, metric in (("h-IoU", "mIoU"), ("h-bIoU", "Boundary-mIoU"), ("h-Recall", "mRecall")):
        base, unbase = percent[f"{metric}-base"], percent[f"{metric}-unbase"]
        percent[key] = harmonic_miou(base, unbase) if base + unbase else float("nan")
    return percent


def iou_of_any(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute IoU per class; NaN only for a class that is neither true nor predicted."""
    hits = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    result = np.full(len(hits), np.nan)
    np.divide(hits, union, out=result, where=union > 0)
    return result
