"""Counts of a benchmark run, for the clean protocol and for the released evaluator."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovps_core.evaluation.benchmark_result import SettingMetrics, class_metrics, setting_metrics
from ovps_core.evaluation.metrics import confusion_matrix, mask_boundary, mean_of_valid
from ovps_core.evaluation.protocols import EvaluationProtocol, Setting
from ovps_core.evaluation.released import boundary_confusion, released_metrics
from ovps_core.evaluation.released_partcatseg import released_joint_metrics
from ovps_core.language.vocabulary import IGNORE, Vocabulary


class ConfusionCounts:
    """Confusion and boundary counts of one setting over labelled pixels, in constant memory."""

    def __init__(self, setting: Setting, vocabulary: Vocabulary) -> None:
        """Start at zero."""
        classes = len(vocabulary.object_parts)
        self.setting, self.vocabulary = setting, vocabulary
        self.confusion = np.zeros((classes + 1, classes + 1), dtype=np.int64)
        self.boundary_overlap = np.zeros(classes, dtype=np.int64)
        self.boundary_union = np.zeros(classes, dtype=np.int64)

    def add(self, predicted: NDArray[np.int32], truth: NDArray[np.int32]) -> None:
        """Count one item.

        Args:
            predicted: int32 [H, W], object-part indices, T for the background.
            truth: int32 [H, W], object-part indices, IGNORE where unlabelled.
        """
        labelled = truth != IGNORE
        classes = len(self.boundary_union)
        self.confusion += confusion_matrix(predicted[labelled], truth[labelled], classes + 1)
        shown = np.where(labelled, predicted, IGNORE)
        for row in np.union1d(truth[labelled], shown[labelled]):
            if row == classes:
                continue
            claimed, true = mask_boundary(shown == row), mask_boundary(truth == row)
            self.boundary_overlap[row] += np.count_nonzero(claimed & true)
            self.boundary_union[row] += np.count_nonzero(claimed | true)

    def metrics(self) -> SettingMetrics:
        """Compute the metrics of all items so far."""
        return setting_metrics(
            self.setting,
            self.vocabulary,
            self.confusion,
            self.boundary_overlap,
            self.boundary_union,
        )


class ReleasedCounts:
    """Confusion matrices of one setting in the form of the released evaluator."""

    def __init__(self, setting: Setting, vocabulary: Vocabulary) -> None:
        """Start at zero."""
        classes = len(vocabulary.object_parts)
        self.setting, self.vocabulary = setting, vocabulary
        self.confusion = np.zeros((classes + 1, classes + 1), dtype=np.int64)
        self.boundary = np.zeros_like(self.confusion)

    def add(self, predicted: NDArray[np.int32], truth: NDArray[np.int32]) -> None:
        """Count one item as :meth:`ConfusionCounts.add` does.

        Unlabelled pixels become the last class in both maps.
        """
        void = len(self.confusion) - 1
        unlabelled = truth == IGNORE
        claimed, true = np.where(unlabelled, void, predicted), np.where(unlabelled, void, truth)
        self.confusion += confusion_matrix(claimed, true, void + 1)
        self.boundary += boundary_confusion(claimed, true, void + 1)

    def metrics(self) -> SettingMetrics:
        """Compute the released metrics under the names of :class:`SettingMetrics`."""
        names = self.vocabulary.object_part_names
        raw = collections.defaultdict(lambda: math.nan, self._figures(names))
        per_class = {
            key: np.array([raw[f"{prefix}-{name}"] for name in names])
            for key, prefix in (
                ("iou", "IoU"),
                ("recall", "Recall"),
                ("boundary_iou", "BoundaryIoU"),
            )
        }
        return SettingMetrics(
            setting=self.setting.value,
            miou=raw["mIoU"],
            seen_miou=raw["mIoU-base"],
            unseen_miou=raw["mIoU-unbase"],
            harmonic_miou=raw["h-IoU"],
            mean_recall=raw["mRecall"],
            seen_mean_recall=raw["mRecall-base"],
            unseen_mean_recall=raw["mRecall-unbase"],
            harmonic_mean_recall=raw["h-Recall"],
            pixel_accuracy=raw["pACC"],
            boundary_iou=mean_of_valid(per_class["boundary_iou"]),
            seen_boundary_iou=raw["Boundary-mIoU-base"],
            unseen_boundary_iou=raw["Boundary-mIoU-unbase"],
            harmonic_boundary_iou=raw["h-bIoU"],
            classes=class_metrics(self.vocabulary, per_class, self.confusion[:, :-1].sum(axis=0)),
        )

    def _figures(self, names: Sequence[str]) -> dict[str, float]:
        """Metrics under the keys of the released evaluator; those that it lacks are left out."""
        seen = self.vocabulary.seen_indices.tolist()
        return released_metrics(self.confusion, self.boundary, self.setting, names, seen)


class ReleasedJointCounts(ReleasedCounts):
    """Confusion matrix of one setting in the form of the released PartCATSeg evaluator, without boundaries."""

    def _figures(self, names: Sequence[str]) -> dict[str, float]:
        seen = self.vocabulary.seen_indices.tolist()
        return released_joint_metrics(self.confusion, self.setting, names, seen)


Counts = ConfusionCounts | ReleasedCounts


def counts_for(protocol: EvaluationProtocol, setting: Setting, vocabulary: Vocabulary) -> Counts:
    """Counts of one setting, at zero, in the form that a protocol needs."""
    if protocol.drops_missed_classes:
        return ReleasedJointCounts(setting, vocabulary)
    if protocol.subtracts_boundary_labels:
        return ReleasedCounts(setting, vocabulary)
    return ConfusionCounts(setting, vocabulary)
