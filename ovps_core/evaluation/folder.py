"""Evaluation of a model on a folder of labelled photographs, with one query for each category."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovps_core.datasets.coco_categories import ObjectPart
from ovps_core.datasets.coco_check import FolderImage
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.coco_problems import Problem
from ovps_core.errors import DatasetError, ImageError
from ovps_core.evaluation.query_metrics import QueryAccumulator
from ovps_core.models.interface import EncodedQueries
from ovps_core.pipeline.postprocess.components import SegmentOptions, full_size, part_masks
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.query import PartQuery, RefusedQuery
from ovps_core.structures.whole_files import without_nan

if TYPE_CHECKING:
    from ovps_core.segmenter import PartSegmenter


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
        queries: metrics of every answered query.
        refused: categories that the model cannot answer; they are not among ``queries``.
        not_scored: number of queries about an image whose file does not say whether it has the part.
        problems: what was left out because it is broken.
        pseudo_labels: number of annotations that a model made; the metrics then measure agreement.
        crowds: number of annotations of the file that are regions of a crowd, which are not scored.
    """

    directory: str
    model: str
    images: int
    queries: QueryAccumulator
    refused: tuple[RefusedQuery, ...] = ()
    not_scored: int = 0
    problems: tuple[Problem, ...] = ()
    pseudo_labels: int = 0
    crowds: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return every metric, ready for JSON."""
        head = {
            "dataset": self.directory,
            "model": self.model,
            "images": self.images,
            "refused": [asdict(refused) for refused in self.refused],
            "not_scored": self.not_scored,
            "left_out": [asdict(problem) for problem in self.problems],
            "pseudo_labels": self.pseudo_labels,
            "crowds": self.crowds,
        }
        content: dict[str, Any] = without_nan({**head, **self.queries.as_dict()})
        return content


def evaluate_folder(
    folder: CocoFolder,
    segmenter: PartSegmenter,
    *,
    limit: int = 0,
    on_answer: Callable[[AnsweredQuery], None] | None = None,
) -> FolderResult:
    """Query every category of a folder in every photograph.

    A category that a photograph has is a present query. One that it lacks is an absent query, and any answer
    to it is a false alarm. Where the file does not say which of the two it is, the query is not scored. A
    category that the model refuses is reported in ``refused``; the rest is scored.

    Args:
        folder: photographs and categories.
        segmenter: the model.
        limit: number of photographs, from the first; 0 for all.
        on_answer: called with every answered query.

    Raises:
        DatasetError: the folder has no photographs or no categories, or an annotation cannot be read.
        ImageError: a photograph is damaged, and the folder does not skip what is broken.
        QueryError: the model refuses every category.
    """
    images = _photographs(folder, limit)
    categories = {
        PartQuery(text=category.name, object=category.object, part=category.part): category
        for category in folder.categories
    }
    encoded = segmenter.encode_queries(list(categories))
    accumulator = QueryAccumulator()
    for query in encoded.queries:
        accumulator.expect(query.given or query)
    damaged: list[Problem] = []
    not_scored = 0
    for entry, image in _read(folder, tqdm(images, unit="image", disable=None), damaged):
        truths = folder.masks(entry, *image.shape[:2])
        found, probabilities = answer_queries(segmenter, image, encoded)
        for query, mask, probability in answers_as_asked(found, encoded.queries, probabilities):
            category = categories[query]
            truth = truths.get(category)
            if not _is_known(entry, category, truth):
                not_scored += 1
                continue
            iou = accumulator.add(query, mask, probability, truth)
            if on_answer is not None:
                on_answer(AnsweredQuery(entry.name, query, iou, image, truth, mask))
    return FolderResult(
        str(folder.directory),
        segmenter.name,
        len(images) - len(damaged),
        accumulator,
        encoded.refused,
        not_scored,
        (*folder.problems, *damaged),
        folder.pseudo_labels,
        folder.crowds,
    )


def _photographs(folder: CocoFolder, limit: int) -> Sequence[FolderImage]:
    """The first ``limit`` photographs, or all for 0; an error if there is nothing to score."""
    images = folder.images[: limit or None]
    if not images or not folder.categories:
        missing = "category: label the images first" if images else "image that can be used"
        raise DatasetError(f"{folder.directory}: its COCO file has no {missing}.")
    return images


def _read(
    folder: CocoFolder, images: Iterable[FolderImage], damaged: list[Problem]
) -> Iterator[tuple[FolderImage, NDArray[np.uint8]]]:
    """Yield the photographs with their pixels; damaged ones are listed if the folder skips them."""
    for entry in images:
        try:
            yield entry, folder.read(entry)
        except ImageError as error:
            if not folder.skip_broken:
                raise
            damaged.append(Problem(f"image {entry.name}", str(error)))


def _is_known(image: FolderImage, category: ObjectPart, truth: NDArray[np.bool_] | None) -> bool:
    """Return whether the file says where, or that nowhere, the category is in the image."""
    if truth is None:
        return image.is_absent(category)
    # an annotation smaller than a pixel counts neither as present nor as absent
    return category not in image.unknown and bool(truth.any())


def answers_as_asked(
    found: PartMasks, queries: Sequence[PartQuery], probabilities: NDArray[np.float32]
) -> Iterator[tuple[PartQuery, NDArray[np.bool_], NDArray[np.float32]]]:
    """Yield each query as it was given, with its mask bool [H, W] and probability float32 [H, W].

    A segmenter with objects reads "left mug" as the left one of the mugs, and "mug parts" as several queries,
    whose answers are united.

    Args:
        found: the parts.
        queries: the encoded queries.
        probabilities: of these queries, [Q, H, W].
    """
    rows: dict[PartQuery, list[int]] = {}
    for row, query in enumerate(queries):
        rows.setdefault(query.given or query, []).append(row)
    for asked, own in rows.items():
        mask = np.any([found.mask_of(queries[row]) for row in own], axis=0)
        yield asked, mask, np.max([probabilities[row] for row in own], axis=0)


def answer_queries(
    segmenter: PartSegmenter,
    image: NDArray[np.uint8],
    queries: EncodedQueries,
    options: SegmentOptions | None = None,
) -> tuple[PartMasks, NDArray[np.float32]]:
    """Answer all queries; in one pass of the network, or with objects as the segmenter does it for a user.

    Args:
        segmenter: the model.
        image: RGB uint8 [H, W, 3].
        queries: the encoded queries.
        options: thresholds; None takes the defaults.

    Returns:
        The parts, and the probabilities float32 [Q, H, W], 0 to 1, before any threshold.
    """
    height, width = image.shape[:2]
    maps = segmenter.query_maps([image], queries)
    options = options or SegmentOptions()
    if segmenter.finds_objects:
        found = segmenter.segment(image, queries, options)
    else:
        found = part_masks(maps[0], queries.queries, height, width, options, segmenter.name)
    return found, full_size(maps, height, width)[0]
