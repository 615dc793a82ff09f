"""What a benchmark run found out: figures per setting and per class, as plain frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.evaluation.metrics import (
    harmonic_miou,
    iou_per_class,
    mean_of_valid,
    pixel_accuracy,
    recall_per_class,
)
from ovps_core.evaluation.protocols import Setting
from ovps_core.language.vocabulary import Vocabulary


@dataclass(frozen=True)
class ClassFigures:
    """One object-part, in percent; NaN where the benchmark never shows it.

    Attributes:
        name: "knife handle".
        seen: whether training saw it.
        pixels: labelled pixels of this class over all items.
    """

    name: str
    seen: bool
    iou: float
    recall: float
    boundary_iou: float
    pixels: int


@dataclass(frozen=True)
class SettingFigures:
    """One setting's figures in percent. Means are over the classes that occur; NaN where none does.

    Attributes:
        miou: over all classes, without the background.
        harmonic_miou: harmonic mean of ``seen_miou`` and ``unseen_miou``; so for the other two.
        pixel_accuracy: share of the labelled pixels that got their own label.
        boundary_iou: IoU of mask boundaries (Cheng et al. 2021); in an emulated released run the released
            figure, which is no IoU of anything.
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
    classes: tuple[ClassFigures, ...]


@dataclass(frozen=True)
class BenchmarkResult:
    """A whole run.

    Attributes:
        dataset: the vocabulary whose names were asked.
        model: name of the weights.
        trained_on: the vocabulary the weights were trained on, "" where unknown; another one than
            ``dataset`` makes this a cross-dataset figure.
        released: whether the released evaluation was emulated.
        items: how many items counted.
        skipped: items without any part label: left out, or replaced in an emulated released run.
        settings: figures, one entry a setting.
    """

    dataset: str
    model: str
    trained_on: str
    released: bool
    items: int
    skipped: int
    settings: tuple[SettingFigures, ...]

    def as_dict(self) -> dict[str, Any]:
        """Every figure, ready for JSON: NaN becomes None."""
        content: dict[str, Any] = without_nan(asdict(self))
        return content


def without_nan(value: Any) -> Any:
    """The same nested lists and dicts with None in the place of NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def setting_figures(
    setting: Setting,
    vocabulary: Vocabulary,
    confusion: NDArray[np.int64],
    boundary_overlap: NDArray[np.int64],
    boundary_union: NDArray[np.int64],
) -> SettingFigures:
    """Figures of one setting from its counts.

    Args:
        confusion: [T+1, T+1] over labelled pixels; the last class is background, never true.
        boundary_overlap, boundary_union: int64 [T], pixels of the boundaries' intersections and unions.
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
    for key, figure in (
        ("iou", "miou"),
        ("recall", "mean_recall"),
        ("boundary_iou", "boundary_iou"),
    ):
        values = per_class[key]
        seen, unseen = (
            mean_of_valid(values[group]) for group in (vocabulary.is_seen, ~vocabulary.is_seen)
        )
        means[figure] = mean_of_valid(values)
        means[f"seen_{figure}"], means[f"unseen_{figure}"] = seen, unseen
        means[f"harmonic_{figure}"] = harmonic_miou(seen, unseen)
    return SettingFigures(
        setting=setting.value,
        pixel_accuracy=100 * pixel_accuracy(confusion),
        classes=class_figures(vocabulary, per_class, pixels),
        **means,
    )


def class_figures(
    vocabulary: Vocabulary, per_class: Mapping[str, NDArray[np.float64]], pixels: NDArray[np.int64]
) -> tuple[ClassFigures, ...]:
    """A line a class, from "iou", "recall", "boundary_iou" float [T] in percent and ``pixels`` int64 [T]."""
    return tuple(
        ClassFigures(
            name=name,
            seen=bool(vocabulary.is_seen[index]),
            iou=float(per_class["iou"][index]),
            recall=float(per_class["recall"][index]),
            boundary_iou=float(per_class["boundary_iou"][index]),
            pixels=int(pixels[index]),
        )
        for index, name in enumerate(vocabulary.pair_names)
    )
