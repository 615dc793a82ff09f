"""Panoptic quality (Kirillov et al., CVPR 2019) and mean IoU of whole pictures, computed by torchmetrics.

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


class PanopticQuality:
    """Accumulator of panoptic maps. Pixels without a label, and crowds, are not scored.

    The authors' script lets a segment count as correct on crowds of its own name only; here it is so on any crowd.

    Args:
        num_things: names before this row are things.
        num_names: number of names.
    """

    def __init__(self, num_things: int, num_names: int) -> None:
        require_packages("torchmetrics", extra="evaluate")
        from torchmetrics.detection import PanopticQuality as Metric

        self.num_things, self.num_names = num_things, num_names
        # torchmetrics does not count a missed object as missed where the answer is void. So pixels without an
        # answer are a segment of one further name, and no pixel of the answer is void.
        self._nothing, self._void = num_names, num_names + 1
        self._metric = Metric(
            things=set(range(num_things)) | {self._nothing},
            stuffs=set(range(num_things, num_names)),
            return_sq_and_rq=True,
            return_per_class=True,
        )

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
        wanted, answer = _blank(size, self._void), _blank(size, self._nothing)
        assert truth.masks is not None
        if truth.masks.any() and truth.masks.sum(0, dtype=np.int32).max() > 1:
            raise DatasetError(
                "objects of an image overlap, so there is no panoptic ground truth; use --task instance, or a "
                "COCO panoptic file"
            )
        for row, (label, mask) in enumerate(zip(truth.labels, truth.masks, strict=True)):
            if not truth.crowds[row]:
                wanted[mask] = (label, row + 1)
        rows = {name: row for row, name in enumerate(names)}
        for each in found.objects:
            answer[each.box.slices][each.mask] = (rows[each.name], each.id)
        import torch

        self._metric.update(torch.from_numpy(answer)[None], torch.from_numpy(wanted)[None])

    def compute(self) -> PanopticScores:
        """Scores of all images so far."""
        metric = self._metric
        quality = metric.compute()  # [names, 3], things first; "nothing" is among them
        counts = metric.true_positives + metric.false_positives + metric.false_negatives
        order = [metric.cat_id_to_continuous_id[label] for label in range(self.num_names)]
        values = np.where((counts > 0).numpy()[:, None], quality.numpy(), np.nan)[order]
        pq, sq, rq = values.T
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


def _blank(size: tuple[int, ...], label: int) -> NDArray[np.int64]:
    """A panoptic map int64 [H, W, 2] of (label, instance) with one label everywhere."""
    blank = np.zeros((*size, 2), dtype=np.int64)
    blank[..., 0] = label
    return blank
