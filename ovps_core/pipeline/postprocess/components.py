"""Part masks from mask logits: connected components above a threshold, scored and sorted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ovps_core.pipeline.postprocess.margins import with_margins
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery

_MARGIN = 1  # a bilinear sample is above a threshold only next to a coarse pixel above it


@dataclass(frozen=True)
class SegmentOptions:
    """Thresholds for parts.

    Attributes:
        score_threshold: minimum mean probability of a part, 0..1; a query's own threshold replaces it.
        mask_threshold: minimum probability of a pixel, 0..1.
        max_parts: maximum number of parts per image.
        min_area: minimum area of a part, pixels of the full image.
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
    """Divide every query's map into connected components, one per part.

    Args:
        logits: float32 [Q, h, w], one map per query.
        queries: the Q queries.
        height, width: of the full image, pixels.
        options: thresholds.
        model: name and digest of the weights, for the result.
    """
    found: list[tuple[float, Box, NDArray[np.bool_], PartQuery]] = []
    left_out: dict[PartQuery, float] = {}
    for query, coarse in zip(queries, logits, strict=True):
        min_score = query.threshold or options.score_threshold
        # Once max_parts are found, a further part must be better than the worst of them.
        full = found and len(found) == options.max_parts
        worst = found[-1][0] if full else -math.inf
        components = _Components.from_logits(coarse, height, width, options, max(min_score, worst))
        if components is None:
            continue
        wanted = (components.scores >= min_score) & (components.scores > worst)
        best = np.argsort(-components.scores[wanted], kind="stable")
        chosen = np.flatnonzero(wanted)[best[: query.max_parts or None][: options.max_parts]]
        if query.max_parts and len(best) > query.max_parts:
            left_out[query] = float(components.scores[wanted][best[query.max_parts]])
        found += [(*components.cut(label), query) for label in chosen]
        found.sort(key=lambda part: -part[0])
        del found[options.max_parts :]
    parts = tuple(
        PartMask(id=i, query=query, score=score, box=box, mask=mask)
        for i, (score, box, mask, query) in enumerate(found, start=1)
    )
    parts = with_margins(parts, left_out)
    return PartMasks(height, width, tuple(queries), parts, model)


@dataclass(frozen=True)
class Component:
    """One connected component of a map.

    Attributes:
        score: mean probability, 0..1.
        box: tight box in the window that the map covers.
        mask: bool [box.height, box.width].
    """

    score: float
    box: Box
    mask: NDArray[np.bool_] = field(repr=False)


def cut_components(
    coarse: NDArray[np.float32],
    inside: NDArray[np.bool_],
    options: SegmentOptions,
    min_score: float,
) -> list[Component]:
    """Connected components of a map within a region, highest score first.

    Args:
        coarse: logits float32 [h, w].
        inside: bool [H, W], the region; its shape is that of the window that the map covers, pixels.
        options: thresholds.
        min_score: minimum score, 0..1.
    """
    height, width = inside.shape
    components = _Components.from_logits(coarse, height, width, options, min_score, inside)
    if components is None:
        return []
    labels = np.flatnonzero(components.scores >= min_score)
    found = [Component(*components.cut(int(label))) for label in labels]
    return sorted(found, key=lambda one: -one.score)


@dataclass(frozen=True)
class _Components:
    """Connected components of one map with their scores; :meth:`cut` makes their masks.

    Attributes:
        scores: float64 [n], mean probability of each label; -1 for components that are too small, and for
            label 0, the background.
        labels: int32 [h, w], label of each pixel of the window that contains all components.
        boxes: int32 [n, 4], left, top, width, height in the window.
        corner: (x, y) of the window in the full image.
    """

    scores: NDArray[np.float64]
    labels: NDArray[np.int32]
    boxes: NDArray[np.int32]
    corner: tuple[int, int]

    @classmethod
    def from_logits(
        cls,
        coarse: NDArray[np.float32],
        height: int,
        width: int,
        options: SegmentOptions,
        min_score: float,
        inside: NDArray[np.bool_] | None = None,
    ) -> _Components | None:
        """Components of a map float32 [h, w]; None if none can be large enough or reach ``min_score``.

        With ``inside`` bool [height, width] only pixels of that region count.
        """
        if sigmoid(coarse.max()) < min_score:  # a mean is at most the maximum
            return None
        threshold = logit(options.mask_threshold)
        rows, columns = _region(coarse, height, width, threshold)
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return None
        fine = sample_bilinear(coarse, height, width, rows, columns)
        above = fine > threshold
        if inside is not None:
            above &= inside[rows, columns]
        # This algorithm of OpenCV is the fastest if there are thousands of small components.
        count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
            above.view(np.uint8), 8, cv2.CV_32S, cv2.CCL_BBDT
        )
        areas = stats[:, cv2.CC_STAT_AREA]
        large = areas >= options.min_area
        large[0] = False
        if not large.any():
            return None
        hits = np.flatnonzero(above)
        sums = np.bincount(labels.ravel()[hits], sigmoid(fine.ravel()[hits]), minlength=count)
        scores = np.where(large, sums / np.maximum(areas, 1), -1.0)
        return cls(
            scores=scores,
            labels=np.asarray(labels, dtype=np.int32),
            boxes=np.asarray(stats[:, : cv2.CC_STAT_AREA], dtype=np.int32),
            corner=(columns.start, rows.start),
        )

    def cut(self, label: int) -> tuple[float, Box, NDArray[np.bool_]]:
        """Score, box in the full image and mask of one component."""
        left, top, width, height = (int(value) for value in self.boxes[label])
        mask = self.labels[top : top + height, left : left + width] == label
        box = Box(self.corner[0] + left, self.corner[1] + top, width, height)
        return float(self.scores[label]), box, mask


def _region(
    coarse: NDArray[np.float32], height: int, width: int, threshold: float
) -> tuple[slice, slice]:
    """Rows and columns of the full image that contain all samples above ``threshold``."""
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
    """Resize ``coarse`` [h, w] to [height, width] and return a window of it.

    The result equals a window of ``torch.nn.functional.interpolate(..., mode="bilinear", align_corners=False)``.
    """
    down, up = _periods(rows, coarse.shape[0], height)
    across, along = _periods(columns, coarse.shape[1], width)
    size = along.stop - along.start, up.stop - up.start
    fine = np.asarray(
        cv2.resize(coarse[down, across], size, interpolation=cv2.INTER_LINEAR), dtype=np.float32
    )
    return fine[
        rows.start - up.start : rows.stop - up.start,
        columns.start - along.start : columns.stop - along.start,
    ]


def _periods(window: slice, coarse: int, full: int) -> tuple[slice, slice]:
    """Ranges of coarse and fine samples that contain ``window`` and have the same scale as the full sizes.

    The positions of coarse and fine samples coincide once per period. A range of whole periods is therefore
    resized as in the full image, except next to its ends, so one more period is taken on either side.
    """
    count = math.gcd(coarse, full)
    period = full // count
    first = max(0, window.start // period - 1)
    last = min(count, -(-window.stop // period) + 1)
    step = coarse // count
    return slice(first * step, last * step), slice(first * period, last * period)


def logit(probability: float) -> float:
    """Inverse of the sigmoid; infinite at 0 and 1."""
    if probability <= 0.0:
        return -math.inf
    return math.log(probability / (1.0 - probability)) if probability < 1.0 else math.inf


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of logits, float32 of the same shape; no logit overflows."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def full_size(maps: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Probabilities at the image's size from mask logits.

    Args:
        maps: float32 [B, Q, h, w].
        height, width: size of the image, pixels.

    Returns:
        float32 [B, Q, height, width], 0..1.
    """
    result = np.empty((*maps.shape[:2], height, width), np.float32)
    for index in np.ndindex(*maps.shape[:2]):
        result[index] = cv2.resize(maps[index], (width, height), interpolation=cv2.INTER_LINEAR)
    return sigmoid(result)
