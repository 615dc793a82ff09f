"""A model on a benchmark: every item through the protocol, figures at the end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ovps_core.datasets.benchmark_reader import BenchmarkItem, BenchmarkReader, LabelledImage
from ovps_core.errors import DatasetError
from ovps_core.evaluation.benchmark_scores import BenchmarkResult
from ovps_core.evaluation.counts import ConfusionCounts, ReleasedCounts
from ovps_core.evaluation.metrics import confusion_matrix, iou_per_class, mean_of_valid
from ovps_core.evaluation.protocols import (
    Setting,
    check_logits,
    oracle_obj_prediction,
    pred_all_prediction,
)
from ovps_core.evaluation.released import RandomReplacement, shifted_labels
from ovps_core.language.vocabulary import IGNORE, Vocabulary
from ovps_core.models.interface import PartLogits
from ovps_core.pipeline.preprocess import to_pixels

if TYPE_CHECKING:
    from ovps_core.segmenter import PartSegmenter

Predict = Callable[[NDArray[np.uint8]], PartLogits]
"""RGB uint8 [H, W, 3] -> logits of the vocabulary's names and pairs, background last, at any resolution."""


@dataclass(frozen=True)
class ScoredItem:
    """One item after the model answered, for whoever watches.

    Attributes:
        miou: mean IoU over the classes labelled in the item, 0..1.
        truth, predicted: int32 [H, W], positions in ``vocabulary.object_parts``, IGNORE elsewhere.
    """

    name: str
    setting: Setting
    miou: float
    image: NDArray[np.uint8] = field(repr=False)
    truth: NDArray[np.int32] = field(repr=False)
    predicted: NDArray[np.int32] = field(repr=False)


def predictor(segmenter: PartSegmenter, vocabulary: Vocabulary) -> Predict:
    """Ask ``segmenter`` for all names of ``vocabulary``; the words are encoded once.

    Maps stay at the network's own resolution: the protocols enlarge them a few classes at a time.

    Raises:
        OvpsError: the model has no background, which the protocols need.
    """
    model = segmenter.model
    conditions = segmenter.query_encoder.encode_vocabulary(vocabulary)
    return lambda image: segmenter.engine.run(
        to_pixels(image, model.spec.preprocessing), conditions
    )


def evaluate_benchmark(
    reader: BenchmarkReader,
    predict: Predict,
    *,
    settings: Collection[Setting] = tuple(Setting),
    released: bool = False,
    limit: int = 0,
    model: str = "",
    trained_on: str = "",
    watch: Callable[[ScoredItem], None] | None = None,
) -> BenchmarkResult:
    """Run a model over a benchmark.

    Args:
        reader: supplies items and the vocabulary whose names are asked.
        predict: the model; called once for neighbouring items of one image.
        settings: what the model is told.
        released: emulate the released evaluation, for comparing with published figures.
        limit: only the first so many items; 0 for all.
        model, trained_on: for the record.
        watch: called with every scored item.

    Raises:
        DatasetError: the data set is missing, half unpacked, or has no item with a part label.
    """
    vocabulary = reader.vocabulary
    items = reader.evaluation_items()[: limit or None]
    kind = ReleasedCounts if released else ConfusionCounts
    counts = {setting: kind(setting, vocabulary) for setting in settings}
    replaced = _Skipped()
    image_path, logits = Path(), None
    scored = 0
    for item, sample in _samples(items, released, replaced):
        if logits is None or item.image_path != image_path:
            image_path, logits = item.image_path, predict(sample.image)
            check_logits(logits, vocabulary)
        truth = shifted_labels(sample.parts) if released and reader.resized_labels else sample.parts
        for setting, count in counts.items():
            predicted = (
                _prediction(setting, logits, vocabulary, sample).cpu().numpy().astype(np.int32)
            )
            count.add(predicted, truth)
            if watch is not None:
                watch(_scored(item.name, setting, sample.image, truth, predicted, vocabulary))
        scored += 1
    if not scored:
        raise DatasetError(
            f"{reader.base}: none of the {len(items)} items has a part label to measure."
        )
    figures = tuple(count.figures() for count in counts.values())
    return BenchmarkResult(
        vocabulary.name, model, trained_on, released, scored, replaced.count, figures
    )


def _prediction(
    setting: Setting, logits: PartLogits, vocabulary: Vocabulary, sample: LabelledImage
) -> Tensor:
    size = (sample.image.shape[0], sample.image.shape[1])
    if setting is Setting.ORACLE_OBJ:
        return oracle_obj_prediction(logits, vocabulary, sample.object_rows, size)
    return pred_all_prediction(logits, vocabulary, size)


@dataclass
class _Skipped:
    count: int = 0


def _samples(
    items: Sequence[BenchmarkItem], released: bool, skipped: _Skipped
) -> Iterator[tuple[BenchmarkItem, LabelledImage]]:
    """Items with a part label; the others are left out, or replaced as the released code does."""
    replacement = RandomReplacement(len(items))
    for start in tqdm(range(len(items)), unit="item", disable=None):
        index: int | None = start
        sample = items[start].read()
        skipped.count += not sample.has_parts
        while released and index is not None and not sample.has_parts:
            index = replacement.instead_of(index)
            sample = sample if index is None else items[index].read()
        if index is not None and sample.has_parts:
            yield items[index], sample


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
