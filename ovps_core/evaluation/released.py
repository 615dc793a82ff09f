"""The released PartCLIPSeg evaluation, emulated exactly: for comparing with published numbers only.

It differs from the clean protocol in three ways, which all change the numbers a little: labels pass through
another size and arrive shifted by a pixel; items without part labels are replaced by random other items; and
boundary IoU is taken on differences of class indices. See :mod:`ovps_core.evaluation.metrics` for sane figures.
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

SHORT_EDGE, LONG_EDGE = 800, 1333
FALLBACK_SEED = 42


def nearest_resize(labels: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    """A label map int32 [H, W] at (h, w) ``size``, by ``torch`` mode "nearest" (floor indexing)."""
    resized = functional.interpolate(
        torch.as_tensor(labels)[None, None].double(), size=size, mode="nearest"
    )
    return resized[0, 0].numpy().astype(np.int32)


def shifted_labels(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """The label map on its way to a shortest edge of 800 pixels (longest 1333) and back.

    Both steps round down, so in images smaller than that most rows and columns end up one pixel further.
    """
    height, width = labels.shape
    scale = SHORT_EDGE / min(height, width)
    scale = min(scale, LONG_EDGE / max(height, width))
    size = (int(height * scale + 0.5), int(width * scale + 0.5))
    return nearest_resize(nearest_resize(labels, size), labels.shape)


class RandomReplacement:
    """Which item stands in for one that has no part labels: any other, drawn with seed 42."""

    def __init__(self, items: int) -> None:
        self._random = random.Random(FALLBACK_SEED)
        self._candidates = set(range(items))

    def instead_of(self, index: int) -> int | None:
        """A random candidate; ``index`` is no candidate any more. None when none is left."""
        self._candidates.discard(index)
        return self._random.sample(sorted(self._candidates), 1)[0] if self._candidates else None


def boundary_labels(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Label minus eroded label, mod 256: not a class, though it is counted as one.

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
    """Confusion matrix of :func:`boundary_labels`, int64 [num_classes, num_classes]."""
    return confusion_matrix(boundary_labels(predicted), boundary_labels(truth), num_classes)


def released_figures(
    confusion: NDArray[np.int64],
    boundary: NDArray[np.int64],
    setting: Setting,
    names: Sequence[str],
    seen: Collection[int],
) -> dict[str, float]:
    """Every figure of the released evaluator under its own key, in percent; NaN where undefined.

    Args:
        confusion, boundary: int64 [T+1, T+1], the last class being "no part".
        names: T class names, for the keys of single classes.
        seen: indices of the seen classes.
    """
    if setting is Setting.ORACLE_OBJ:
        confusion, boundary = confusion[:-1, :-1], boundary[:-1, :-1]
    else:
        confusion = confusion.copy()
        confusion[:, -1] = 0
    true, hits = confusion.sum(axis=0), np.diag(confusion)
    iou = _iou(confusion)
    if setting is Setting.ORACLE_OBJ:
        iou[true == 0] = np.nan
    recall, boundary_iou = recall_per_class(confusion), _iou(boundary)
    figures = {
        "mIoU": mean_of_valid(iou),
        "fwIoU": float(np.nansum(iou * true) / max(true.sum(), 1)),
        "mACC": mean_of_valid(recall),
        "pACC": float(hits.sum() / true.sum()) if true.sum() else float("nan"),
        "mRecall": mean_of_valid(recall),
    }
    for index, name in enumerate(names):
        figures[f"IoU-{name}"] = float(iou[index])
        figures[f"ACC-{name}"] = figures[f"Recall-{name}"] = float(recall[index])
        figures[f"BoundaryIoU-{name}"] = float(boundary_iou[index])
    in_base = np.isin(np.arange(len(iou)), list(seen))
    for group, members in (("base", in_base), ("unbase", ~in_base)):
        labelled = members & (true > 0)
        figures[f"mIoU-{group}"] = mean_of_valid(iou[labelled])
        pixels = true[members].sum()
        figures[f"pAcc-{group}"] = float(hits[members].sum() / pixels) if pixels else float("nan")
        figures[f"mRecall-{group}"] = mean_of_valid(recall[members])
        figures[f"Boundary-mIoU-{group}"] = mean_of_valid(boundary_iou[members])
    percent = {key: 100 * value for key, value in figures.items()}
    for key, figure in (("h-IoU", "mIoU"), ("h-bIoU", "Boundary-mIoU"), ("h-Recall", "mRecall")):
        base, unbase = percent[f"{figure}-base"], percent[f"{figure}-unbase"]
        percent[key] = harmonic_miou(base, unbase) if base + unbase else float("nan")
    return percent


def _iou(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU per class, NaN only where a class is neither true nor claimed."""
    hits = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    result = np.full(len(hits), np.nan)
    np.divide(hits, union, out=result, where=union > 0)
    return result
