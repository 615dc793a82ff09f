"""Evaluation of a model on a folder of labelled photographs, with one query for each category."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import DatasetError
from ovps_core.evaluation.benchmark_result import without_nan
from ovps_core.evaluation.query_metrics import QueryAccumulator
from ovps_core.models.interface import EncodedQueries
from ovps_core.pipeline.postprocess.components import SegmentOptions, part_masks
from ovps_core.segmenter import PartSegmenter, full_size
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.query import PartQuery


@dataclass(frozen=True)
class AnsweredQuery:
    """One query about one image, with its answer.

    Attributes:
        name: of the image.
        query: the query.
        iou: of the answer; for an absent part 1 without an answer and 0 with one.
        image: RGB uint8 [H, W, 3].
        truth: bool [H, W]; None if the image does not show the part.
        mask: bool [H, W], union of the reported parts.
    """

    name: str
    query: PartQuery
    iou: float
    image: NDArray[np.uint8] = field(repr=False)
    truth: NDArray[np.bool_] | None = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True)
class FolderResult:
    """Result of an evaluation on a folder.

    Attributes:
        directory: the folder.
        model: name of the weights.
        images: number of photographs.
        queries: every answered query.
    """

    directory: str
    model: str
    images: int
    queries: QueryAccumulator

    def as_dict(self) -> dict[str, Any]:
        """Return every metric, ready for JSON."""
        head = {"dataset": self.directory, "model": self.model, "images": self.images}
        content: dict[str, Any] = without_nan({**head, **self.queries.as_dict()})
        return content


def evaluate_folder(
    folder: CocoFolder,
    segmenter: PartSegmenter,
    *,
    limit: int = 0,
    model: str = "",
    on_answer: Callable[[AnsweredQuery], None] | None = None,
) -> FolderResult:
    """Query every category of a folder in every photograph.

    A category that a photograph has is a present query. One that it lacks is an absent query, and any answer
    to it is a false alarm.

    Args:
        folder: photographs and categories.
        segmenter: the model.
        limit: number of photographs, from the first; 0 for all.
        model: name of the weights, for the record.
        on_answer: called with every answered query.

    Raises:
        DatasetError: there are no photographs, or a photograph or an annotation cannot be read.
        QueryError: the model refuses every category.
    """
    images = folder.images[: limit or None]
    if not images:
        raise DatasetError(f"{folder.directory}: annotations.json lists no images.")
    queries = [PartQuery(text=c.name, object=c.object, part=c.part) for c in folder.categories]
    plan = segmenter.plan(queries)
    accumulator = QueryAccumulator()
    for entry in tqdm(images, unit="image", disable=None):
        image = folder.read(entry)
        truths = folder.masks(entry, *image.shape[:2])
        found, probabilities = answer_queries(segmenter, image, plan)
        for category, query, probability in zip(
            folder.categories, queries, probabilities, strict=True
        ):
            mask, truth = found.mask_of(query), truths.get(category)
            if truth is not None and not truth.any():
                continue  # annotated, but smaller than a pixel: present or absent, neither is wrong
            iou = accumulator.add(query, mask, probability, truth)
            if on_answer is not None:
                on_answer(AnsweredQuery(entry.name, query, iou, image, truth, mask))
    return FolderResult(str(folder.directory), model, len(images), accumulator)


def answer_queries(
    segmenter: PartSegmenter,
    image: NDArray[np.uint8],
    plan: EncodedQueries,
    options: SegmentOptions | None = None,
) -> tuple[PartMasks, NDArray[np.float32]]:
    """Answer all queries in one pass of the network.

    Args:
        segmenter: the model.
        image: RGB uint8 [H, W, 3].
        plan: the queries.
        options: thresholds; None takes the defaults.

    Returns:
        The parts, and the probabilities float32 [Q, H, W], 0 to 1, before any threshold.
    """
    height, width = image.shape[:2]
    maps = segmenter.query_maps([image], plan)
    options = options or SegmentOptions()
    found = part_masks(maps[0], plan.queries, height, width, options, segmenter.name)
    return found, full_size(maps, height, width)[0]
