"""Metrics of masks and label maps: confusion matrix, IoU, recall, accuracy, boundaries.

Pure functions on NumPy arrays. A confusion matrix has a row for each *predicted* class and a column for
each *true* class.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BOUNDARY_RATIO = 0.02
"""Width of a boundary as a share of the image diagonal (Cheng et al., CVPR 2021)."""


def confusion_matrix(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Count pixels by (predicted class, true class).

    Args:
        predicted: class indices 0 to num_classes - 1, of any shape.
        truth: class indices 0 to num_classes - 1, of the same shape.
        num_classes: C.

    Returns:
        int64 [C, C], rows predicted, columns true.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    cells = num_classes * predicted.astype(np.int64).ravel() + truth.astype(np.int64).ravel()
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def _ratio(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide element by element; NaN where the denominator is 0."""
    result = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def iou_per_class(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute TP / (TP + FP + FN), float [C] from 0 to 1; NaN for a class that is never true.

    Example:
        >>> iou_per_class(np.array([[1, 0], [1, 1]])).tolist()
        [0.5, 0.5]
    """
    hits, true = np.diag(confusion), confusion.sum(axis=0)
    iou = _ratio(hits, true + confusion.sum(axis=1) - hits)
    iou[true == 0] = np.nan
    return iou


def recall_per_class(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute TP / (TP + FN), float [C] from 0 to 1; NaN for a class that is never true."""
    return _ratio(np.diag(confusion), confusion.sum(axis=0))


def over_segmentation(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute FP / (TP + FP), float [C] from 0 to 1: the share of a class's claims that are wrong.

    NaN for a class that is never true, 0 for one that is never predicted. HOPS calls it the over-segmentation
    index (OSI) and takes it of objects, where another part of the same object is no wrong claim
    (:func:`grouped_confusion`). Its under-segmentation index (USI) is 1 minus :func:`recall_per_class`.

    Example:
        >>> over_segmentation(np.array([[1, 0], [1, 1]])).tolist()
        [0.0, 0.5]
    """
    hits, claimed = np.diag(confusion), confusion.sum(axis=1)
    index = np.nan_to_num(_ratio(claimed - hits, claimed))
    index[confusion.sum(axis=0) == 0] = np.nan
    return index


def grouped_confusion(
    confusion: NDArray[np.int64], group: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Sum a confusion matrix of classes into one of groups, such as the objects that parts belong to.

    Args:
        confusion: int64 [C, C].
        group: group 0 to G - 1 of each class, [C].

    Returns:
        int64 [G, G].

    Example:
        >>> grouped_confusion(np.array([[1, 2, 0], [3, 4, 0], [0, 0, 5]]), np.array([0, 0, 1])).tolist()
        [[10, 0], [0, 5]]
    """
    size = int(group.max()) + 1
    summed = np.zeros((size, size), dtype=np.int64)
    np.add.at(summed, (group[:, None], group[None, :]), confusion)
    return summed


def pixel_accuracy(confusion: NDArray[np.int64]) -> float:
    """Compute the share of correctly classified pixels, 0 to 1; NaN without pixels."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")


def mean_of_valid(values: NDArray[np.float64]) -> float:
    """Compute the mean of the values that are not NaN; NaN if there is none."""
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if valid.size else float("nan")


def harmonic_miou(seen: float, unseen: float) -> float:
    """Compute the harmonic mean 2ab / (a + b); 0 if both are 0, NaN if either is NaN.

    Example:
        >>> harmonic_miou(60.0, 30.0)
        40.0
    """
    return 2 * seen * unseen / (seen + unseen) if seen + unseen != 0 else 0.0


def mask_boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask's pixels within :data:`BOUNDARY_RATIO` of its contour, bool [H, W].

    The image's own border counts as a contour (Cheng et al., "Boundary IoU", CVPR 2021).
    """
    distance = max(1, round(BOUNDARY_RATIO * float(np.hypot(*mask.shape))))
    boundary = np.zeros_like(mask)
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    cut = mask[y : y + height, x : x + width]
    if cut.size:
        inside = cv2.copyMakeBorder(cut.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        inside = cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
        boundary[y : y + height, x : x + width] = cut & (inside == 0)
    return boundary
