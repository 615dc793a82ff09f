"""A model on a folder of labelled photographs, asked as a user asks: one query for each name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import DatasetError
from ovps_core.evaluation.benchmark_scores import without_nan
from ovps_core.evaluation.queries import QueryAccumulator
from ovps_core.models.interface import EncodedQueries
from ovps_core.pipeline.postprocess.components import SegmentOptions, part_masks
from ovps_core.segmenter import PartSegmenter, full_size
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.query import PartQuery


@dataclass(frozen=True)
class AnsweredQuery:
    """One query about one photograph, for whoever watches.

    Attributes:
        iou: of the answer; for a part that is not there 1 for silence, 0 for an alarm.
        truth: bool [H, W]; None where the photograph does not show it.
        mask: bool [H, W], the answer.
    """

    name: str
    query: PartQuery
    iou: float
    image: NDArray[np.uint8] = field(repr=False)
    truth: NDArray[np.bool_] | None = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True)
class FolderResult:
    """A whole run; ``figures`` adds up every query.

    Attributes:
        images: photographs asked about.
    """

    directory: str
    model: str
    images: int
    figures: QueryAccumulator

    def as_dict(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        head = {"dataset": self.directory, "model": self.model, "images": self.images}
        content: dict[str, Any] = without_nan({**head, **self.figures.as_dict()})
        return content


def evaluate_folder(
    folder: CocoFolder,
    segmenter: PartSegmenter,
    *,
    limit: int = 0,
    model: str = "",
    watch: Callable[[AnsweredQuery], None] | None = None,
) -> FolderResult:
    """Ask every category of the folder about every photograph in it.

    A category that the photograph has is a present query; one that it lacks an absent query, on which any
    answer is a false alarm.

    Args:
        limit: only the first so many photographs; 0 for all.
        model: for the record.
        watch: called with every answered query.

    Raises:
        DatasetError: no photographs, or one of them or its annotations cannot be read.
    """
    images = folder.images[: limit or None]
    if not images:
        raise DatasetError(f"{folder.directory}: annotations.json lists no images.")
    queries = [PartQuery(text=c.name, object=c.object, part=c.part) for c in folder.categories]
    plan = segmenter.encode_queries(queries)
    figures = QueryAccumulator()
    for entry in tqdm(images, unit="image", disable=None):
        image = folder.read(entry)
        truths = folder.masks(entry, *image.shape[:2])
        found, probabilities = ask(segmenter, image, plan)
        for category, query, probability in zip(
            folder.categories, queries, probabilities, strict=True
        ):
            mask, truth = found.mask_of(query), truths.get(category)
            if truth is not None and not truth.any():
                continue  # annotated, but smaller than a pixel: neither answer would be wrong
            iou = figures.add(query, mask, probability, truth)
            if watch is not None:
                watch(AnsweredQuery(entry.name, query, iou, image, truth, mask))
    return FolderResult(str(folder.directory), model, len(images), figures)


def ask(
    segmenter: PartSegmenter,
    image: NDArray[np.uint8],
    plan: EncodedQueries,
    options: SegmentOptions | None = None,
) -> tuple[PartMasks, NDArray[np.float32]]:
    """The answer to all queries and the probabilities it is cut from, from one pass of the network.

    Args:
        image: RGB uint8 [H, W, 3].

    Returns:
        The answer with ``options``, and float32 [Q, H, W], 0..1.
    """
    height, width = image.shape[:2]
    maps = segmenter.query_maps([image], plan)
    options = options or SegmentOptions()
    found = part_masks(maps[0], plan.queries, height, width, options, segmenter.name)
    return found, full_size(maps, height, width)[0]
