"""Panoptic quality (Kirillov et al., CVPR 2019), and mean IoU of whole pictures, computed by torchmetrics.

PyTorch is imported where it is used, so that tables of other results need none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.labelled_objects import LabelledObjects
from ovps_core.errors import DatasetError
from ovps_core.evaluation.metrics import mean_of_valid
from ovps_core.structures.masks import ObjectMasks
from ovps_core.structures.requirements import require_packages


@dataclass(frozen=True)
class PanopticScores:
    """Panoptic quality, shares from 0 to 1; NaN where no name occurs.

    Attributes:
        pq: mean over the names that occur, PQ = SQ * RQ for each.
        sq: segmentation quality, the mean IoU of matched segments.
        rq: recognition quality, the F1 score of segments.
        pq_things, pq_stuff: over things and over stuff alone.
        per_label: PQ of each name.
    """

    pq: float
    sq: float
    rq: float
    pq_things: float
    pq_stuff: float
    per_label: tuple[float, ...]


@dataclass(frozen=True)
class _Segments:
    """Segments of an image.

    Attributes:
        ids: int64 [H, W], number of the segment of each pixel; 0 for none.
        labels: int64 [N + 1], label of each segment; -1 for none.
        crowds: bool [N + 1].
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    crowds: NDArray[np.bool_]


class PanopticQuality:
    """Accumulator of panoptic maps, by the rules of the authors' script (panopticapi).

    A segment and an object of its name match from an IoU of 0.5. Pixels without a label are not scored. An answer
    that lies mostly on them or on crowds of its own name is not wrong. The pixels of crowds count in the union.

    Args:
        num_things: names before this row are things.
        num_names: number of names.
    """

    def __init__(self, num_things: int, num_names: int) -> None:
        self.num_things, self.num_names = num_things, num_names
        self._iou = np.zeros(num_names)
        self._matched, self._wrong, self._missed = np.zeros((3, num_names), dtype=np.int64)

    def add(self, truth: LabelledObjects, found: ObjectMasks, names: Sequence[str]) -> None:
        """Add an image.

        Args:
            truth: its segments, which do not overlap.
            found: the answer.
            names: the name of each label in the answer.

        Raises:
            DatasetError: the segments of the ground truth overlap.
        """
        size = truth.image.shape[:2]
        assert truth.masks is not None
        if truth.masks.any() and truth.masks.sum(0, dtype=np.int32).max() > 1:
            raise DatasetError(
                "objects of an image overlap, so there is no panoptic ground truth; use --task instance, or a "
                "COCO panoptic file"
            )
        everywhere = (slice(None), slice(None))
        given = zip(truth.labels.tolist(), truth.masks, truth.crowds.tolist(), strict=True)
        wanted = self._segments(
            size, [(row, everywhere, mask, crowd) for row, mask, crowd in given]
        )
        rows = {name: row for row, name in enumerate(names)}
        answer = self._segments(
            size, [(rows[each.name], each.box.slices, each.mask, False) for each in found.objects]
        )
        self._count(wanted, answer)

    def _segments(
        self,
        size: tuple[int, ...],
        regions: Sequence[tuple[int, tuple[slice, slice], NDArray[np.bool_], bool]],
    ) -> _Segments:
        """Segments of (label, place, mask, is a crowd); regions of one name of stuff are one segment."""
        ids = np.zeros(size, dtype=np.int64)
        numbers: dict[tuple[int, bool, int], int] = {}
        for order, (label, place, mask, crowd) in enumerate(regions):
            key = (label, crowd, order if label < self.num_things else -1)
            ids[place][mask] = numbers.setdefault(key, len(numbers) + 1)
        labels = np.array([-1, *(label for label, _, _ in numbers)], dtype=np.int64)
        return _Segments(ids, labels, np.array([False, *(crowd for _, crowd, _ in numbers)]))

    def _count(self, wanted: _Segments, answer: _Segments) -> None:
        """Count the matches of an image, and the segments without one."""
        shape = len(wanted.labels), len(answer.labels)
        pairs = (wanted.ids * shape[1] + answer.ids).ravel()
        shared = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
        areas, found_areas = shared.sum(1), shared.sum(0)
        objects = (wanted.labels >= 0) & ~wanted.crowds & (areas > 0)
        same = wanted.labels[:, None] == answer.labels
        union = areas[:, None] + found_areas - shared - shared[0]
        iou = np.where(same & objects[:, None], shared / np.maximum(union, 1), 0.0)
        matches = iou > 0.5
        rows, columns = np.nonzero(matches)
        np.add.at(self._iou, wanted.labels[rows], iou[rows, columns])
        np.add.at(self._matched, wanted.labels[rows], 1)
        np.add.at(self._missed, wanted.labels[objects & ~matches.any(1)], 1)
        ignored = shared[0] + (shared * (same & wanted.crowds[:, None])).sum(0)
        wrong = (answer.labels >= 0) & (found_areas > 0) & ~matches.any(0)
        wrong &= ignored <= 0.5 * found_areas
        np.add.at(self._wrong, answer.labels[wrong], 1)

    def compute(self) -> PanopticScores:
        """Scores of all images so far."""
        occurs = self._matched + self._wrong + self._missed > 0
        found = np.maximum(self._matched, 1)
        total = np.maximum(self._matched + 0.5 * self._wrong + 0.5 * self._missed, 0.5)
        pq, sq, rq = (
            np.where(occurs, value, np.nan)
            for value in (self._iou / total, self._iou / found, self._matched / total)
        )
        return PanopticScores(
            mean_of_valid(pq),
            mean_of_valid(sq),
            mean_of_valid(rq),
            mean_of_valid(pq[: self.num_things]),
            mean_of_valid(pq[self.num_things :]),
            tuple(map(float, pq)),
        )


@dataclass(frozen=True)
class SemanticScores:
    """IoU of names, shares from 0 to 1.

    Attributes:
        miou: mean over the names that occur in the ground truth.
        per_label: of each name; NaN where it does not occur.
    """

    miou: float
    per_label: tuple[float, ...]


class MeanIou:
    """Accumulator of semantic maps; pixels without a label are not scored.

    Args:
        num_names: number of names.
    """

    def __init__(self, num_names: int) -> None:
        require_packages("torchmetrics", extra="evaluate")
        from torchmetrics.classification import MulticlassJaccardIndex

        self.num_names = num_names
        # one further class for pixels without an answer
        self._metric = MulticlassJaccardIndex(num_names + 1, average="none", ignore_index=-1)

    def add(self, truth: LabelledObjects, found: ObjectMasks, names: Sequence[str]) -> None:
        """Add an image; arguments as in :meth:`PanopticQuality.add`."""
        size = truth.image.shape[:2]
        wanted, answer = np.full(size, -1), np.full(size, self.num_names)
        assert truth.masks is not None
        for label, mask in zip(truth.labels, truth.masks, strict=True):
            wanted[mask] = label
        rows = {name: row for row, name in enumerate(names)}
        for each in found.objects:
            answer[each.box.slices][each.mask] = rows[each.name]
        import torch

        self._metric.update(torch.from_numpy(answer), torch.from_numpy(wanted))

    def compute(self) -> SemanticScores:
        """Scores of all images so far."""
        occurs = (self._metric.confmat.sum(1) > 0).numpy()  # rows are the ground truth
        iou = np.where(occurs, self._metric.compute().numpy(), np.nan)[: self.num_names]
        return SemanticScores(mean_of_valid(iou), tuple(map(float, iou)))
