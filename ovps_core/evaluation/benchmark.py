"""Evaluation of a model on a published benchmark, in one or both settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ovps_core.datasets.benchmark_reader import BenchmarkItem, BenchmarkReader, LabelledImage
from ovps_core.errors import DatasetError
from ovps_core.evaluation.benchmark_result import BenchmarkResult, ScoredItem
from ovps_core.evaluation.counts import counts_for
from ovps_core.evaluation.metrics import confusion_matrix, iou_per_class, mean_of_valid
from ovps_core.evaluation.predicted_labels import (
    check_logits,
    class_prediction,
    oracle_obj_prediction,
    pred_all_prediction,
)
from ovps_core.evaluation.protocols import CLEAN, EvaluationProtocol, Setting
from ovps_core.evaluation.released import RandomReplacement, shifted_labels
from ovps_core.language.vocabulary import IGNORE, Vocabulary
from ovps_core.models.interface import PartLogits

Predict = Callable[[NDArray[np.uint8]], PartLogits]
"""RGB uint8 [H, W, 3] -> logits of a vocabulary's names and object parts, background last, any resolution."""


def evaluate_benchmark(
    reader: BenchmarkReader,
    predict: Predict,
    *,
    settings: Collection[Setting] = tuple(Setting),
    protocol: EvaluationProtocol = CLEAN,
    limit: int = 0,
    model: str = "",
    trained_on: str = "",
    on_item: Callable[[ScoredItem], None] | None = None,
) -> BenchmarkResult:
    """Run a model over a benchmark.

    Args:
        reader: supplies the items and the vocabulary.
        predict: the model; called once for consecutive items of one image.
        settings: knowledge that the model is given.
        protocol: see :func:`ovps_core.evaluation.protocols.choose_protocol`.
        limit: number of items, from the first; 0 for all.
        model: name of the weights, for the record.
        trained_on: name of the training set's vocabulary, for the record.
        on_item: called with every scored item.

    Raises:
        DatasetError: files are missing or malformed, or no item has a part label.
        UsageError: the model's maps belong to another vocabulary.
    """
    vocabulary = reader.vocabulary
    items = reader.evaluation_items()[: limit or None]
    counts = {setting: counts_for(protocol, setting, vocabulary) for setting in settings}
    shift = protocol.shifts_labels and reader.resized_in_released_code
    samples = _LabelledItems(items, protocol)
    image_path, logits = Path(), None
    scored = 0
    for item, sample in samples:
        if logits is None or item.image_path != image_path:
            image_path, logits = item.image_path, predict(sample.image)
            check_logits(logits, vocabulary, protocol)
        truth = shifted_labels(sample.parts, protocol.resized_sides) if shift else sample.parts
        for setting, count in counts.items():
            prediction = _prediction(setting, logits, vocabulary, sample, protocol)
            predicted = prediction.cpu().numpy().astype(np.int32)
            count.add(predicted, truth)
            if on_item is not None:
                on_item(_scored(item.name, setting, sample.image, truth, predicted, vocabulary))
        scored += 1
    if not scored:
        raise DatasetError(
            f"{reader.base}: none of the {len(items)} items has a part label to measure."
        )
    metrics = tuple(count.metrics() for count in counts.values())
    return BenchmarkResult(
        vocabulary.name, model, trained_on, protocol, scored, samples.without_parts, metrics
    )


def _prediction(
    setting: Setting,
    logits: PartLogits,
    vocabulary: Vocabulary,
    sample: LabelledImage,
    protocol: EvaluationProtocol,
) -> Tensor:
    size = (sample.image.shape[0], sample.image.shape[1])
    if not protocol.decides_object_first:
        objects = sample.object_rows if setting is Setting.ORACLE_OBJ else None
        return class_prediction(logits, vocabulary, size, protocol, objects)
    if setting is Setting.ORACLE_OBJ:
        return oracle_obj_prediction(logits, vocabulary, sample.object_rows, size)
    return pred_all_prediction(logits, vocabulary, size)


class _LabelledItems:
    """Items with a part label; the protocol decides whether the others are skipped or replaced."""

    def __init__(self, items: Sequence[BenchmarkItem], protocol: EvaluationProtocol) -> None:
        self._items, self._protocol = items, protocol
        self.without_parts = 0

    def __iter__(self) -> Iterator[tuple[BenchmarkItem, LabelledImage]]:
        replacement = RandomReplacement(len(self._items))
        for start in tqdm(range(len(self._items)), unit="item", disable=None):
            index: int | None = start
            sample = self._items[start].read()
            self.without_parts += not sample.has_parts
            if self._protocol.replaces_empty_items:
                while index is not None and not sample.has_parts:
                    index = replacement.draw(index)
                    sample = sample if index is None else self._items[index].read()
            if index is not None and sample.has_parts:
                yield self._items[index], sample


def _scored(
    name: str,
    setting: Setting,
    image: NDArray[np.uint8],
    truth: NDArray[np.int32],
    predicted: NDArray[np.int32],
    vocabulary: Vocabulary,
) -> ScoredItem:
    labelled = truth != IGNORE
    background = len(vocabulary.object_parts)
    confusion = confusion_matrix(predicted[labelled], truth[labelled], background + 1)
    shown = np.where(labelled & (predicted != background), predicted, IGNORE)
    return ScoredItem(name, setting, mean_of_valid(iou_per_class(confusion)), image, truth, shown)
