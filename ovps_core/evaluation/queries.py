"""How well free queries are answered: masks where the part is, silence where it is not.

Nothing here grows with the number of images: a query's probability map becomes a histogram of one IoU per
threshold and is let go.
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
"""The thresholds that are tried for ``best_threshold_iou``."""


@dataclass(frozen=True)
class QueryFigures:
    """Figures over a set of queries, 0..1; NaN where there was no such query.

    Attributes:
        present, absent: how many queries asked for something that is, or is not, in the image.
        mean_iou: mean IoU of the answered mask over present queries; no answer counts 0.
        cumulative_iou: all overlaps over all unions, of present queries: large parts weigh more.
        best_threshold_iou: mean IoU over present queries if the probability maps were cut at the one
            threshold that suits all of them best.
        best_threshold: that threshold.
        precision_50: share of present queries whose mask has an IoU of 0.5 or more.
        false_alarm_rate: share of absent queries that got an answer.
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

    def figures(self) -> QueryFigures:
        best = int(self.curve.argmax())
        return QueryFigures(
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
    """IoU of ``probability >= t`` with ``truth`` for every t of :data:`THRESHOLDS`, float [99].

    Args:
        probability: float [H, W], 0..1.
        truth: bool [H, W], not empty.
    """
    bins = np.searchsorted(THRESHOLDS, probability.ravel(), side="right")
    on_part = np.bincount(bins[truth.ravel()], minlength=len(THRESHOLDS) + 1)
    everywhere = np.bincount(bins, minlength=len(THRESHOLDS) + 1)
    overlap, claimed = (counts[::-1].cumsum()[::-1][1:] for counts in (on_part, everywhere))
    return overlap / (np.count_nonzero(truth) + claimed - overlap)


class QueryAccumulator:
    """Adds up answered queries; figures for all of them and per (object, part)."""

    def __init__(self) -> None:
        self._all = _Sums()
        self._by_category: dict[tuple[str, str], _Sums] = {}

    def add(
        self,
        query: PartQuery,
        mask: NDArray[np.bool_],
        probability: NDArray[np.float32],
        truth: NDArray[np.bool_] | None,
    ) -> float:
        """Count one answered query.

        Args:
            mask: bool [H, W], union of the parts the segmenter reported; empty where it found none.
            probability: float [H, W], 0..1, the model's map before any threshold.
            truth: bool [H, W], or None where the image does not show the part.

        Returns:
            IoU of ``mask`` with ``truth``; for an absent part 1 for silence and 0 for an alarm.
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

    def figures(self) -> QueryFigures:
        """Over all queries."""
        return self._all.figures()

    def categories(self) -> Iterable[tuple[tuple[str, str], QueryFigures]]:
        """((object, part), figures), sorted."""
        return [(key, self._by_category[key].figures()) for key in sorted(self._by_category)]

    def as_dict(self) -> dict[str, Any]:
        """Overall figures, and under ``per_category`` the same by name, with its object and part.

        Where a word is asked both as a part and as an object, the object's key is "rim (object)".
        """
        per_category: dict[str, Any] = {}
        for (name, part), figures in self.categories():
            key = f"{name} {part}".strip()
            key = f"{key} (object)" if key in per_category else key
            per_category[key] = {"object": name, "part": part, **vars(figures)}
        return {**vars(self.figures()), "per_category": per_category}
