"""Result of a benchmark run: metrics per setting and per class, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.evaluation.metrics import (
    grouped_confusion,
    harmonic_miou,
    iou_per_class,
    mean_of_valid,
    over_segmentation,
    pixel_accuracy,
    recall_per_class,
)
from ovps_core.evaluation.protocols import EvaluationProtocol, Setting
from ovps_core.language.vocabulary import Vocabulary
from ovps_core.structures.whole_files import without_nan


@dataclass(frozen=True)
class ScoredItem:
    """One item with the model's prediction.

    Attributes:
        name: of the item.
        setting: knowledge that the model was given.
        miou: mean IoU over the classes labelled in the item, 0 to 1.
        image: RGB uint8 [H, W, 3].
        truth: int32 [H, W], indices into ``vocabulary.object_parts``, IGNORE where unlabelled.
        predicted: the same; IGNORE also for the background.
    """

    name: str
    setting: Setting
    miou: float
    image: NDArray[np.uint8] = field(repr=False)
    truth: NDArray[np.int32] = field(repr=False)
    predicted: NDArray[np.int32] = field(repr=False)


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one object part in percent; NaN if the benchmark never shows it.

    Attributes:
        name: such as "knife handle".
        seen: its object is in the training set.
        iou: intersection over union.
        recall: share of its pixels that were found.
        boundary_iou: IoU of mask boundaries.
        pixels: labelled pixels of this class in all items.
    """

    name: str
    seen: bool
    iou: float
    recall: float
    boundary_iou: float
    pixels: int


@dataclass(frozen=True)
class SettingMetrics:
    """Metrics of one setting in percent.

    Means are over the classes that occur; NaN if none does. ``seen_`` and ``unseen_`` restrict a mean to seen
    or unseen classes; ``harmonic_`` is the harmonic mean of those two.

    Attributes:
        setting: value of the :class:`Setting`.
        miou: mean IoU over all classes, without the background.
        mean_recall: mean recall over all classes.
        pixel_accuracy: share of the labelled pixels with the correct label.
        boundary_iou: mean IoU of mask boundaries (Cheng et al., CVPR 2021). In a run that emulates the released
            evaluation it is the released metric, which is not an IoU.
        classes: metrics of each object part.
        over_segmentation: share of the pixels claimed for an object's parts that are on another object, mean over
            objects. NaN in the setting that names the object, and in a run that emulates the released evaluation.
        under_segmentation: share of an object part's pixels that were missed, mean over object parts: 100 minus
            the mean recall. NaN where the over-segmentation is.
    """

    setting: str
    miou: float
    seen_miou: float
    unseen_miou: float
    harmonic_miou: float
    mean_recall: float
    seen_mean_recall: float
    unseen_mean_recall: float
    harmonic_mean_recall: float
    pixel_accuracy: float
    boundary_iou: float
    seen_boundary_iou: float
    unseen_boundary_iou: float
    harmonic_boundary_iou: float
    classes: tuple[ClassMetrics, ...]
    over_segmentation: float = math.nan
    seen_over_segmentation: float = math.nan
    unseen_over_segmentation: float = math.nan
    under_segmentation: float = math.nan
    seen_under_segmentation: float = math.nan
    unseen_under_segmentation: float = math.nan


@dataclass(frozen=True)
class BenchmarkResult:
    """Result of a benchmark run.

    Attributes:
        dataset: name of the benchmark's vocabulary.
        model: name of the weights.
        trained_on: name of the vocabulary of the training set, "" if unknown; if it differs from ``dataset``,
            this is a cross-dataset result.
        protocol: the protocol of the run.
        items: number of items that were scored.
        skipped: number of items without part labels; the protocol skips or replaces them.
        settings: metrics of each setting.
    """

    dataset: str
    model: str
    trained_on: str
    protocol: EvaluationProtocol
    items: int
    skipped: int
    settings: tuple[SettingMetrics, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return every metric, ready for JSON: NaN becomes None."""
        content: dict[str, Any] = without_nan(
            {
                "dataset": self.dataset,
                "model": self.model,
                "trained_on": self.trained_on,
                "released": self.protocol.shifts_labels,
                "items": self.items,
                "skipped": self.skipped,
                "settings": [asdict(setting) for setting in self.settings],
            }
        )
        return content


def setting_metrics(
    setting: Setting,
    vocabulary: Vocabulary,
    confusion: NDArray[np.int64],
    boundary_overlap: NDArray[np.int64],
    boundary_union: NDArray[np.int64],
) -> SettingMetrics:
    """Compute the metrics of one setting from its counts.

    Args:
        setting: for the record.
        vocabulary: its T object parts.
        confusion: int64 [T+1, T+1] over labelled pixels; the last class is the background, never true.
        boundary_overlap: int64 [T], pixels of the boundaries' intersections.
        boundary_union: int64 [T], pixels of the boundaries' unions.
    """
    per_class = {
        "iou": 100 * iou_per_class(confusion)[:-1],
        "recall": 100 * recall_per_class(confusion)[:-1],
        "boundary_iou": np.full(len(boundary_union), np.nan),
    }
    pixels = confusion.sum(axis=0)[:-1]
    measured = (boundary_union > 0) & (pixels > 0)
    np.divide(100 * boundary_overlap, boundary_union, out=per_class["boundary_iou"], where=measured)
    means: dict[str, float] = {}
    for key, metric in (
        ("iou", "miou"),
        ("recall", "mean_recall"),
        ("boundary_iou", "boundary_iou"),
    ):
        values = per_class[key]
        seen, unseen = (
            mean_of_valid(values[group]) for group in (vocabulary.is_seen, ~vocabulary.is_seen)
        )
        means[metric] = mean_of_valid(values)
        means[f"seen_{metric}"], means[f"unseen_{metric}"] = seen, unseen
        means[f"harmonic_{metric}"] = harmonic_miou(seen, unseen)
    if setting is Setting.PRED_ALL:
        means |= _over_segmentation(vocabulary, confusion)
        for group in ("", "seen_", "unseen_"):
            means[f"{group}under_segmentation"] = 100 - means[f"{group}mean_recall"]
    return SettingMetrics(
        setting=setting.value,
        pixel_accuracy=100 * pixel_accuracy(confusion),
        classes=class_metrics(vocabulary, per_class, pixels),
        **means,
    )


def _over_segmentation(vocabulary: Vocabulary, confusion: NDArray[np.int64]) -> dict[str, float]:
    """Over-segmentation of objects in percent: of all, of those with a seen part, and of the others."""
    objects = len(vocabulary.objects_with_parts)
    owners = np.append(vocabulary.object_index, objects)
    index = 100 * over_segmentation(grouped_confusion(confusion, owners))[:-1]
    seen = np.isin(np.arange(objects), vocabulary.object_index[vocabulary.is_seen])
    groups = {"": index, "seen_": index[seen], "unseen_": index[~seen]}
    return {f"{group}over_segmentation": mean_of_valid(values) for group, values in groups.items()}


def class_metrics(
    vocabulary: Vocabulary, per_class: Mapping[str, NDArray[np.float64]], pixels: NDArray[np.int64]
) -> tuple[ClassMetrics, ...]:
    """Collect the metrics of each class.

    Args:
        vocabulary: its T object parts.
        per_class: float [T] in percent under "iou", "recall" and "boundary_iou".
        pixels: int64 [T], labelled pixels.
    """
    return tuple(
        ClassMetrics(
            name=name,
            seen=bool(vocabulary.is_seen[index]),
            iou=float(per_class["iou"][index]),
            recall=float(per_class["recall"][index]),
            boundary_iou=float(per_class["boundary_iou"][index]),
            pixels=int(pixels[index]),
        )
        for index, name in enumerate(vocabulary.object_part_names)
    )
