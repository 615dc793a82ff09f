"""Results of a segmenter: object and part masks cut to their boxes, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ovps_core.structures.boxes import Box
from ovps_core.structures.query import PartQuery, RefusedQuery


@dataclass(frozen=True)
class ObjectMask:
    """One object instance in one image.

    Attributes:
        id: 1, 2, ...; :attr:`PartMask.object_id` refers to it.
        name: object name, as queried.
        score: confidence, 0..1.
        box: tight box in the full image.
        mask: bool [box.height, box.width], True on the object.
        track_id: the same instance in other frames; 0 without tracking.
    """

    id: int
    name: str
    score: float
    box: Box
    mask: NDArray[np.bool_] = field(repr=False)
    track_id: int = 0


@dataclass(frozen=True)
class PartMask:
    """One part in one image.

    Attributes:
        id: 1, 2, ...: the part's value in :meth:`PartMasks.label_image`.
        query: the query that this part answers.
        score: confidence, 0..1: mean probability over the mask.
        box: tight box in the full image.
        mask: bool [box.height, box.width], True on the part.
        track_id: the same part in other frames; 0 without tracking.
        object_id: id of the :class:`ObjectMask` that the part belongs to; 0 without an object model.
    """

    id: int
    query: PartQuery
    score: float
    box: Box
    mask: NDArray[np.bool_] = field(repr=False)
    track_id: int = 0
    object_id: int = 0

    @property
    def area(self) -> int:
        """Number of pixels on the part."""
        return int(np.count_nonzero(self.mask))

    def full(self, height: int, width: int) -> NDArray[np.bool_]:
        """The mask in the full image, bool [height, width]."""
        canvas = np.zeros((height, width), dtype=bool)
        canvas[self.box.slices] = self.mask
        return canvas


@dataclass(frozen=True)
class PartMasks:
    """All parts found in one image. ``parts`` may be empty: "nothing found" is an answer.

    Attributes:
        height, width: size of the full image, pixels.
        queries: the queries that were answered, in the order given.
        parts: highest score first.
        model: name and digest of the weights.
        refused: phrases that the model cannot answer; they are not among ``queries``.
        objects: object instances that the parts belong to; empty without an object model.
    """

    height: int
    width: int
    queries: tuple[PartQuery, ...]
    parts: tuple[PartMask, ...]
    model: str
    refused: tuple[RefusedQuery, ...] = ()
    objects: tuple[ObjectMask, ...] = ()

    def of(self, query: PartQuery | str) -> tuple[PartMask, ...]:
        """The parts found for exactly one query, or for all queries with one text."""
        if isinstance(query, str):
            return tuple(part for part in self.parts if part.query.text == query)
        return tuple(part for part in self.parts if part.query == query)

    def mask_of(self, query: PartQuery | str) -> NDArray[np.bool_]:
        """Union of the parts that :meth:`of` returns, bool [height, width]."""
        canvas = np.zeros((self.height, self.width), dtype=bool)
        for part in self.of(query):
            canvas[part.box.slices] |= part.mask
        return canvas

    def label_image(self) -> NDArray[np.uint16]:
        """Part id per pixel, uint16 [height, width]; 0 = no part. Where parts overlap the higher score wins."""
        labels = np.zeros((self.height, self.width), dtype=np.uint16)
        for part in reversed(self.parts):
            labels[part.box.slices][part.mask] = part.id
        return labels


def mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one shape, 0..1; 1 if both are empty.

    Example:
        >>> mask_iou(np.array([True, True]), np.array([True, False]))
        0.5
    """
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0


def boxed_mask_iou(
    box_a: Box, mask_a: NDArray[np.bool_], box_b: Box, mask_b: NDArray[np.bool_]
) -> float:
    """Intersection over union of two masks that are cut to their boxes, 0..1.

    Only pixels where the boxes overlap are compared, so the cost does not depend on the image size.

    Args:
        box_a, box_b: box of each mask in the full image.
        mask_a, mask_b: bool [box.height, box.width].
    """
    shared = box_a.intersection(box_b)
    if shared is None:
        return 0.0
    crops = []
    for box, mask in ((box_a, mask_a), (box_b, mask_b)):
        moved = Box(
            shared.x_offset - box.x_offset,
            shared.y_offset - box.y_offset,
            shared.width,
            shared.height,
        )
        crops.append(mask[moved.slices])
    common = np.count_nonzero(crops[0] & crops[1])
    union = np.count_nonzero(mask_a) + np.count_nonzero(mask_b) - common
    return float(common / union) if union else 0.0
