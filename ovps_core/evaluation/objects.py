"""Evaluation of an object model on a data set, with the names of its categories as the vocabulary."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovps_core.datasets.coco_objects import CocoObjects
from ovps_core.datasets.labelled_objects import LabelledObjects, ObjectDataset
from ovps_core.datasets.object_benchmarks import ObjectTask
from ovps_core.errors import DatasetError
from ovps_core.evaluation.average_precision import AveragePrecision, Detection, PrecisionScores
from ovps_core.evaluation.metrics import mean_of_valid
from ovps_core.evaluation.panoptic import MeanIou, PanopticQuality
from ovps_core.language.object_names import ObjectNames
from ovps_core.structures.boxes import ObjectBox, side_in_image
from ovps_core.structures.masks import ObjectMasks
from ovps_core.structures.whole_files import without_nan

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}
"""LVIS' groups of names, by the number of training images that have them."""


class ObjectFinder(Protocol):
    """An :class:`~ovps_core.object_segmenter.ObjectSegmenter`, as far as an evaluation asks it."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def max_instances(self) -> int:
        """Instances that the model gives."""

    def detect(
        self,
        image: NDArray[np.uint8],
        names: ObjectNames,
        *,
        score_threshold: float,
        max_objects: int,
    ) -> ObjectMasks:
        """Instances with masks."""

    def detect_boxes(
        self,
        image: NDArray[np.uint8],
        names: ObjectNames,
        *,
        score_threshold: float,
        max_objects: int,
    ) -> tuple[ObjectBox, ...]:
        """Instances without masks."""

    def panoptic(self, image: NDArray[np.uint8], names: ObjectNames) -> ObjectMasks:
        """Segments that do not overlap."""

    def semantic(self, image: NDArray[np.uint8], names: ObjectNames) -> ObjectMasks:
        """A name for each pixel."""

    def decode_masks(
        self,
        image: NDArray[np.uint8],
        boxes: Sequence[Sequence[float]],
        names: Sequence[str],
    ) -> ObjectMasks:
        """The mask of each box and name."""


@dataclass(frozen=True)
class ObjectsResult:
    """Result of an evaluation; all metrics are shares from 0 to 1, NaN where they are undefined.

    Attributes:
        dataset: file or folder of the annotations.
        task: what was asked.
        model: name of the weights.
        images: number of images.
        metrics: by name: ``box_ap``, ``mask_ap50``, ``pq``, ``miou``, ...
        per_category: metrics of each name of the data set.
        words: the word that was asked for each of these names.
        pseudo_labels: number of annotations that a model made; the metrics then measure agreement.
    """

    dataset: str
    task: ObjectTask
    model: str
    images: int
    metrics: Mapping[str, float]
    per_category: Mapping[str, Mapping[str, float]]
    words: Mapping[str, str]
    pseudo_labels: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        content: dict[str, Any] = without_nan({**asdict(self), "task": self.task.value})
        return content


def evaluate_objects(
    dataset: ObjectDataset,
    finder: ObjectFinder,
    task: ObjectTask,
    *,
    limit: int = 0,
    pseudo_labels: bool = False,
) -> ObjectsResult:
    """Ask for all names of a data set in each image, and score the answers.

    Things and stuff are what the data set says. Nothing is learned from it, so this is a zero-shot evaluation
    unless the weights were trained on it.

    Args:
        dataset: opened for evaluation.
        finder: the model.
        task: what is asked.
        limit: number of images, from the first; 0 for all.
        pseudo_labels: score against masks that a model made.

    Raises:
        DatasetError: there are no images, no names or no masks, an annotation is malformed, or there are
            pseudo-labels although they are not allowed.
        MissingDependencyError: torchmetrics is missing, which panoptic and semantic need.
    """
    _check(dataset, task, pseudo_labels)
    count = min(limit or len(dataset), len(dataset))
    scorer = _SCORERS[task](dataset)
    for index in tqdm(range(count), unit="image", disable=None):
        truth = dataset.read(index)
        scorer.add(truth, finder)
    per_label = scorer.per_label()
    rows = {
        name: {metric: values[row] for metric, values in per_label.items()}
        for row, name in enumerate(scorer.names)
    }
    words = dict(zip(dataset.names, dataset.queries.all, strict=True))
    return ObjectsResult(
        str(dataset.source),
        task,
        finder.name,
        count,
        scorer.metrics(),
        rows,
        words,
        dataset.pseudo_labels,
    )


def _check(dataset: ObjectDataset, task: ObjectTask, pseudo_labels: bool) -> None:
    source = dataset.source
    if not len(dataset) or not dataset.names:
        raise DatasetError(f"{source} has no images or no categories; nothing can be scored.")
    if task is not ObjectTask.DETECTION and not dataset.has_masks:
        raise DatasetError(
            f"{source} has annotations without masks, which {task.value} needs. Use --task detection."
        )
    if task.needs_regions and not dataset.has_regions:
        raise DatasetError(
            f"{source} has objects, and no regions of the rest; {task.value} does not score pixels without a "
            "label, so most wrong answers would cost nothing. Use --task instance, or a COCO panoptic file: "
            "annotations with segments_info, and PNGs."
        )
    if not task.needs_regions and not dataset.things:
        raise DatasetError(f"{source} has no things, only stuff. Use --task semantic.")
    if dataset.pseudo_labels and not pseudo_labels:
        raise DatasetError(
            f"{source}: {dataset.pseudo_labels} annotations are pseudo-labels: a model made their masks. A score "
            "against them says how far two models agree, not how far one is right. Say that you mean it: "
            "--pseudo-labels."
        )


class _Scorer(ABC):
    """The answers of one task and their scores.

    Attributes:
        names: of the data set, those that are scored.
    """

    names: tuple[str, ...]

    @abstractmethod
    def add(self, truth: LabelledObjects, finder: ObjectFinder) -> None:
        """Ask about an image and add the answer."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Metrics of everything."""

    @abstractmethod
    def per_label(self) -> dict[str, tuple[float, ...]]:
        """Metrics of each name."""


class _Instances(_Scorer):
    """Average precision of boxes, and of masks."""

    with_masks = True

    def __init__(self, dataset: ObjectDataset) -> None:
        self.names, self._queries = dataset.things, dataset.queries
        self._frequencies = dataset.frequencies if isinstance(dataset, CocoObjects) else {}
        count = len(self.names)
        # A model may give more answers about an image than count of one name.
        self._max = limit = dataset.max_detections
        self._scores = {"box": AveragePrecision("bbox", count, limit)}
        if self.with_masks:
            self._scores["mask"] = AveragePrecision("segm", count, limit)
        self._any = AveragePrecision("bbox", 1, limit)
        self._computed: dict[str, PrecisionScores] = {}

    def add(self, truth: LabelledObjects, finder: ObjectFinder) -> None:
        found = self._found(truth, finder)
        for accumulator in self._scores.values():
            accumulator.add(truth, found)
        if truth.checked is None:
            things = truth.labels < len(self.names)
            self._any.add(_without_names(truth, things), _one_per_box(found))

    def _found(self, truth: LabelledObjects, finder: ObjectFinder) -> list[Detection]:
        rows = {word: row for row, word in enumerate(self._queries.things)}
        height, width = truth.image.shape[:2]
        count = max(self._max, finder.max_instances)
        asked: dict[str, Any] = {"score_threshold": 0.0, "max_objects": count}
        if not self.with_masks:
            boxes = finder.detect_boxes(truth.image, self._queries, **asked)
            return [Detection(rows[each.name], each.score, each.corners) for each in boxes]
        masks = finder.detect(truth.image, self._queries, **asked)
        return [
            Detection(
                rows[each.name],
                each.score,
                each.predicted_box or each.box.corners,
                each.full(height, width),
            )
            for each in masks.objects
        ]

    def metrics(self) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for kind, scores in self._all().items():
            values = asdict(scores)
            per_label = values.pop("per_label")
            metrics |= {
                f"{kind}_{name}" if name.startswith("ap") else f"{kind}_ap_{name}": value
                for name, value in values.items()
            }
            for key, group in FREQUENCIES.items() if self._frequencies else ():
                rows = [row for row, n in enumerate(self.names) if self._frequencies.get(n) == key]
                metrics[f"{kind}_ap_{group}"] = mean_of_valid(np.array(per_label)[rows])
        if self._any.images:
            nameless = self._any.compute()
            metrics["class_agnostic_box_ap"] = nameless.ap
            metrics["class_agnostic_box_ap50"] = nameless.ap50
        return metrics

    def per_label(self) -> dict[str, tuple[float, ...]]:
        return {f"{kind}_ap": scores.per_label for kind, scores in self._all().items()}

    def _all(self) -> dict[str, PrecisionScores]:
        if not self._computed:
            self._computed = {kind: each.compute() for kind, each in self._scores.items()}
        return self._computed


class _Detection(_Instances):
    """Average precision of boxes."""

    with_masks = False


class _Conditioned(_Scorer):
    """Average precision of masks that are decoded from the true boxes and names (Table 1 of OpenSeeD's paper)."""

    def __init__(self, dataset: ObjectDataset) -> None:
        self.names, self._queries = dataset.things, dataset.queries
        self._scores = AveragePrecision("segm", len(self.names), dataset.max_detections)
        self._computed: PrecisionScores | None = None

    def add(self, truth: LabelledObjects, finder: ObjectFinder) -> None:
        height, width = truth.image.shape[:2]
        sides = [side_in_image(box, height, width) for box in truth.boxes.tolist()]
        given = (truth.labels < len(self.names)) & ~truth.crowds & (np.array(sides) > 0)
        labels, boxes = truth.labels[given].tolist(), truth.boxes[given].tolist()
        words = [self._queries.things[label] for label in labels]
        found = finder.decode_masks(truth.image, boxes, words) if labels else None
        detections = [
            Detection(labels[each.id - 1], each.score, each.box.corners, each.full(height, width))
            for each in (found.objects if found else ())
        ]
        self._scores.add(truth, detections)

    def metrics(self) -> dict[str, float]:
        return {f"mask_{name}": getattr(self._all(), name) for name in ("ap", "ap50", "ap75")}

    def per_label(self) -> dict[str, tuple[float, ...]]:
        return {"mask_ap": self._all().per_label}

    def _all(self) -> PrecisionScores:
        self._computed = self._computed or self._scores.compute()
        return self._computed


class _Panoptic(_Scorer):
    """Panoptic quality."""

    def __init__(self, dataset: ObjectDataset) -> None:
        self.names, self._queries = dataset.names, dataset.queries
        self._quality = PanopticQuality(len(dataset.things), len(dataset.names))

    def add(self, truth: LabelledObjects, finder: ObjectFinder) -> None:
        found = finder.panoptic(truth.image, self._queries)
        self._quality.add(truth, found, self._queries.all)

    def metrics(self) -> dict[str, float]:
        metrics = asdict(self._quality.compute())
        del metrics["per_label"]
        return metrics

    def per_label(self) -> dict[str, tuple[float, ...]]:
        return {"pq": self._quality.compute().per_label}


class _Semantic(_Scorer):
    """Mean IoU."""

    def __init__(self, dataset: ObjectDataset) -> None:
        self.names, self._queries = dataset.names, dataset.queries
        self._iou = MeanIou(len(dataset.names))

    def add(self, truth: LabelledObjects, finder: ObjectFinder) -> None:
        found = finder.semantic(truth.image, self._queries)
        self._iou.add(truth, found, self._queries.all)

    def metrics(self) -> dict[str, float]:
        return {"miou": self._iou.compute().miou}

    def per_label(self) -> dict[str, tuple[float, ...]]:
        return {"iou": self._iou.compute().per_label}


_SCORERS: dict[ObjectTask, Callable[[ObjectDataset], _Scorer]] = {
    ObjectTask.INSTANCE: _Instances,
    ObjectTask.DETECTION: _Detection,
    ObjectTask.PANOPTIC: _Panoptic,
    ObjectTask.SEMANTIC: _Semantic,
    ObjectTask.CONDITIONED: _Conditioned,
}


def _without_names(truth: LabelledObjects, rows: NDArray[np.bool_]) -> LabelledObjects:
    """The objects ``rows`` with one label for all of them."""
    return LabelledObjects(
        truth.image,
        np.zeros(int(rows.sum()), dtype=np.int64),
        truth.boxes[rows],
        None,
        truth.areas[rows],
        truth.crowds[rows],
        truth.pseudo[rows],
    )


def _one_per_box(found: list[Detection]) -> list[Detection]:
    """The best answer of each box, without its name: a query answers several names with one box."""
    best: dict[tuple[float, ...], Detection] = {}
    for each in sorted(found, key=lambda detection: -detection.score):
        best.setdefault(each.box, Detection(0, each.score, each.box))
    return list(best.values())
