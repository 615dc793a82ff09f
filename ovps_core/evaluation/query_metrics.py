"""Metrics of queries in free words, about parts that are present and about absent ones.

Memory does not grow with the number of images: a probability map is reduced to one IoU per threshold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.structures.masks import mask_iou
from ovps_core.structures.query import PartQuery

THRESHOLDS = np.linspace(0.01, 0.99, 99)
"""Thresholds that are tried for ``best_threshold_iou``."""


@dataclass(frozen=True)
class QueryMetrics:
    """Metrics of a set of queries, 0 to 1; NaN if there was no such query.

    Attributes:
        present: number of queries about something in the image.
        absent: number of queries about something that is not in the image.
        mean_iou: mean IoU of the answers to present queries; no answer counts 0.
        cumulative_iou: sum of overlaps over sum of unions of present queries; large parts weigh more.
        best_threshold_iou: mean IoU of present queries at the best common threshold of the probability maps.
        best_threshold: that threshold.
        precision_50: share of present queries with an IoU of at least 0.5.
        false_alarm_rate: share of absent queries with an answer.
    """

    present: int
    absent: int
    mean_iou: float
    cumulative_iou: float
    best_threshold_iou: float
    best_threshold: float
    precision_50: float
    false_alarm_rate: float


@dataclass
class _Sums:
    present: int = 0
    absent: int = 0
    iou: float = 0.0
    overlap: int = 0
    union: int = 0
    hits: int = 0
    alarms: int = 0
    curve: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(THRESHOLDS)))

    def metrics(self) -> QueryMetrics:
        best = int(self.curve.argmax())
        return QueryMetrics(
            present=self.present,
            absent=self.absent,
            mean_iou=_share(self.iou, self.present),
            cumulative_iou=_share(self.overlap, self.union),
            best_threshold_iou=_share(float(self.curve[best]), self.present),
            best_threshold=float(THRESHOLDS[best]) if self.present else float("nan"),
            precision_50=_share(self.hits, self.present),
            false_alarm_rate=_share(self.alarms, self.absent),
        )


def _share(count: float, total: int) -> float:
    return count / total if total else float("nan")


def iou_curve(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute the IoU of ``probability >= t`` with ``truth`` for each t of :data:`THRESHOLDS`.

    Args:
        probability: float [H, W], 0 to 1.
        truth: bool [H, W], not empty.

    Returns:
        float [99].
    """
    bins = np.searchsorted(THRESHOLDS, probability.ravel(), side="right")
    on_part = np.bincount(bins[truth.ravel()], minlength=len(THRESHOLDS) + 1)
    everywhere = np.bincount(bins, minlength=len(THRESHOLDS) + 1)
    overlap, claimed = (counts[::-1].cumsum()[::-1][1:] for counts in (on_part, everywhere))
    return np.asarray(overlap / (np.count_nonzero(truth) + claimed - overlap))


class QueryAccumulator:
    """Accumulator of answered queries, for all of them and per (object, part)."""

    def __init__(self) -> None:
        """Start without queries."""
        self._all = _Sums()
        self._by_category: dict[tuple[str, str], _Sums] = {}

    def expect(self, query: PartQuery) -> None:
        """List the category of a query even if nothing is counted for it."""
        self._by_category.setdefault((query.object, query.part), _Sums())

    def add(
        self,
        query: PartQuery,
        mask: NDArray[np.bool_],
        probability: NDArray[np.float32],
        truth: NDArray[np.bool_] | None,
    ) -> float:
        """Count one answered query.

        Args:
            query: its object and part name the category.
            mask: bool [H, W], union of the reported parts; all False if there is none.
            probability: float [H, W], 0 to 1, the model's map before any threshold.
            truth: bool [H, W], or None if the image does not show the part.

        Returns:
            IoU of ``mask`` with ``truth``; for an absent part 1 without an answer and 0 with one.
        """
        category = self._by_category.setdefault((query.object, query.part), _Sums())
        found = bool(mask.any())
        if truth is None or not truth.any():
            for sums in (self._all, category):
                sums.absent += 1
                sums.alarms += found
            return 0.0 if found else 1.0
        iou, curve = mask_iou(mask, truth), iou_curve(probability, truth)
        overlap, union = int(np.sum(mask & truth)), int(np.sum(mask | truth))
        for sums in (self._all, category):
            sums.present += 1
            sums.iou += iou
            sums.overlap += overlap
            sums.union += union
            sums.hits += iou >= 0.5
            sums.curve += curve
        return iou

    def metrics(self) -> QueryMetrics:
        """Compute the metrics of all queries."""
        return self._all.metrics()

    def categories(self) -> Iterable[tuple[tuple[str, str], QueryMetrics]]:
        """Compute the metrics of each (object, part), sorted."""
        return [(key, self._by_category[key].metrics()) for key in sorted(self._by_category)]

    def as_dict(self) -> dict[str, Any]:
        """Return the overall metrics, and under ``per_category`` those of each name.

        If a word occurs both as a part and as an object, the object's key is "rim (object)".
        """
        per_category: dict[str, Any] = {}
        for (name, part), metrics in self.categories():
            key = f"{name} {part}".strip()
            key = f"{key} (object)" if key in per_category else key
            per_category[key] = {"object": name, "part": part, **vars(metrics)}
        return {**vars(self.metrics()), "per_category": per_category}
