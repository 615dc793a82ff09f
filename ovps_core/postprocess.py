"""Logits into part masks: upsample only where something is, cut into pieces, score, sort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ovps_core.query import PartQuery
from ovps_core.results import PartMask, PartMasks, Roi

_MARGIN = 1  # a bilinear sample is above a threshold only next to a coarse pixel above it


@dataclass(frozen=True)
class SegmentOptions:
    """What counts as a part.

    Attributes:
        score_threshold: least mean probability of a part, 0..1; a query's own comes first.
        mask_threshold: least probability of a pixel, 0..1.
        max_parts: most parts in one image.
        min_area: fewest pixels of a part in the full image.
    """

    score_threshold: float = 0.5
    mask_threshold: float = 0.5
    max_parts: int = 20
    min_area: int = 25


def part_masks(
    logits: NDArray[np.float32],
    queries: Sequence[PartQuery],
    height: int,
    width: int,
    options: SegmentOptions,
    model: str,
) -> PartMasks:
    """Cut every query's map into connected pieces.

    Args:
        logits: float32 [Q, h, w], one map a query.
        queries: the Q queries.
        height, width: of the full image, pixels.
        options: thresholds.
        model: name and digest, passed on.
    """
    found: list[tuple[float, PartQuery, Roi, NDArray[np.bool_]]] = []
    for query, coarse in zip(queries, logits, strict=True):
        pieces = _pieces(coarse, height, width, options)
        least = query.threshold or options.score_threshold
        pieces = sorted((p for p in pieces if p[0] >= least), key=lambda piece: -piece[0])
        found += [
            (score, query, roi, mask) for score, roi, mask in pieces[: query.max_parts or None]
        ]
    found.sort(key=lambda part: -part[0])
    parts = tuple(
        PartMask(id=i, query=query, score=score, roi=roi, mask=mask)
        for i, (score, query, roi, mask) in enumerate(found[: options.max_parts], start=1)
    )
    return PartMasks(height, width, tuple(queries), parts, model)


def _pieces(
    coarse: NDArray[np.float32], height: int, width: int, options: SegmentOptions
) -> list[tuple[float, Roi, NDArray[np.bool_]]]:
    """(score, box, mask) of each connected piece of one map."""
    threshold = logit(options.mask_threshold)
    rows, columns = _region(coarse, height, width, threshold)
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return []
    fine = sample_bilinear(coarse, height, width, rows, columns)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((fine > threshold).astype(np.uint8))
    pieces = []
    for label in range(1, count):
        left, top, wide, high, area = (int(value) for value in stats[label])
        if area < options.min_area:
            continue
        cut = np.s_[top : top + high, left : left + wide]
        mask = labels[cut] == label
        score = float(_sigmoid(fine[cut][mask]).mean())
        pieces.append((score, Roi(columns.start + left, rows.start + top, wide, high), mask))
    return pieces


def _region(
    coarse: NDArray[np.float32], height: int, width: int, threshold: float
) -> tuple[slice, slice]:
    """Rows and columns of the full image outside which no sample can be above ``threshold``."""
    above = coarse > threshold
    spans = []
    for axis, full in ((1, height), (0, width)):
        hits = np.asarray(above.any(axis=axis))
        if not hits.any():
            return slice(0, 0), slice(0, 0)
        first, last = int(hits.argmax()), len(hits) - int(hits[::-1].argmax())
        scale = full / len(hits)
        start = math.floor((first - _MARGIN) * scale)
        stop = math.ceil((last + _MARGIN) * scale)
        spans.append(slice(max(0, start), min(full, stop)))
    return spans[0], spans[1]


def sample_bilinear(
    coarse: NDArray[np.float32], height: int, width: int, rows: slice, columns: slice
) -> NDArray[np.float32]:
    """A window of ``coarse`` [h, w] resized to [height, width], half-pixel centres, edges repeated.

    It equals ``torch.nn.functional.interpolate(..., mode="bilinear", align_corners=False)`` cut to the window.
    """
    top, bottom, down = _taps(rows, coarse.shape[0], height)
    left, right, across = _taps(columns, coarse.shape[1], width)
    band = coarse[top] * (1 - down[:, None]) + coarse[bottom] * down[:, None]
    return (band[:, left] * (1 - across) + band[:, right] * across).astype(np.float32, copy=False)


def _taps(
    window: slice, coarse: int, full: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The two coarse samples next to each fine one, and the weight of the second."""
    centres = (np.arange(window.start, window.stop) + 0.5) * (coarse / full) - 0.5
    centres = centres.clip(0, coarse - 1)
    low = np.floor(centres).astype(np.int64)
    return low, np.minimum(low + 1, coarse - 1), (centres - low).astype(np.float32)


def logit(probability: float) -> float:
    """Inverse of the sigmoid; infinite at 0 and at 1."""
    if probability <= 0.0:
        return -math.inf
    return math.log(probability / (1.0 - probability)) if probability < 1.0 else math.inf


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return 0.5 * (1.0 + np.tanh(0.5 * logits))
