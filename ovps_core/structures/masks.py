"""Results of a segmenter: object and part masks cut to their boxes, as frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ovps_core.structures.boxes import Box
from ovps_core.structures.query import PartQuery, RefusedQuery


class BoxedMask:
    """Mask in one image that is cut to its box; the fields are those of its subclasses.

    Attributes:
        id: value in a label image.
        box: tight box in the full image.
        mask: bool [box.height, box.width].
    """

    id: int
    box: Box
    mask: NDArray[np.bool_]

    @property
    def area(self) -> int:
        """Number of pixels on the mask."""
        return int(np.count_nonzero(self.mask))

    def full(self, height: int, width: int) -> NDArray[np.bool_]:
        """The mask in the full image, bool [height, width]."""
        canvas = np.zeros((height, width), dtype=bool)
        canvas[self.box.slices] = self.mask
        return canvas


@dataclass(frozen=True)
class ObjectMask(BoxedMask):
    """One object instance in one image.

    Attributes:
        id: 1, 2, ...; :attr:`PartMask.object_id` refers to it.
        name: object name, as queried.
        score: confidence, 0..1.
        box: tight box in the full image.
        mask: bool [box.height, box.width], True on the object.
        track_id: the same instance in other frames; 0 without tracking.
        predicted_box: (x1, y1, x2, y2) in pixels of the image, as the model predicted it apart from the mask; it
            may reach beyond the image. None if the model predicted none.
        is_thing: an instance; False for a region of stuff such as sky, of which there is one per name.
    """

    id: int
    name: str
    score: float
    box: Box
    mask: NDArray[np.bool_] = field(repr=False)
    track_id: int = 0
    predicted_box: tuple[float, float, float, float] | None = None
    is_thing: bool = True


@dataclass(frozen=True)
class ObjectMasks:
    """All objects found in one image. ``objects`` may be empty: "nothing found" is an answer.

    Attributes:
        height, width: size of the full image, pixels.
        names: the names that were asked for, things before stuff.
        objects: in the order of their ids.
        model: name and digest of the weights.
    """

    height: int
    width: int
    names: tuple[str, ...]
    objects: tuple[ObjectMask, ...]
    model: str

    def of(self, name: str) -> tuple[ObjectMask, ...]:
        """The objects of one name."""
        return tuple(found for found in self.objects if found.name == name)

    def label_image(self) -> NDArray[np.uint16]:
        """Object id per pixel, uint16 [height, width]; 0 = no object. Where objects overlap the lower id wins."""
        return _label_image(self.height, self.width, self.objects)

    def as_part_masks(self) -> PartMasks:
        """The objects as answers to one query per name, for code that draws or writes masks."""
        queries = {name: PartQuery(name, object=name) for name in self.names}
        parts = tuple(
            PartMask(found.id, queries[found.name], found.score, found.box, found.mask)
            for found in self.objects
        )
        return PartMasks(self.height, self.width, tuple(queries.values()), parts, self.model)


@dataclass(frozen=True)
class PartMask(BoxedMask):
    """One part in one image.

    Attributes:
        id: 1, 2, ...: the part's value in :meth:`PartMasks.label_image`.
        query: the query that this part answers.
        score: confidence, 0..1: mean probability over the mask.
        box: tight box in the full image.
        mask: bool [box.height, box.width], True on the part.
        track_id: the same part in other frames; 0 without tracking.
        object_id: id of the :class:`ObjectMask` that the part belongs to; 0 without an object model.
        margin: ``score`` minus that of the next best answer, -1..1: of another query for the same pixels, or of a
            part of the same query that ``max_parts`` left out. Equal to ``score`` if there is none.
    """

    id: int
    query: PartQuery
    score: float
    box: Box
    mask: NDArray[np.bool_] = field(repr=False)
    track_id: int = 0
    object_id: int = 0
    margin: float = 0.0


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
        return _label_image(self.height, self.width, self.parts)


def _label_image(height: int, width: int, masks: Sequence[BoxedMask]) -> NDArray[np.uint16]:
    """Id per pixel; where masks overlap, the first of them wins."""
    labels = np.zeros((height, width), dtype=np.uint16)
    for each in reversed(masks):
        labels[each.box.slices][each.mask] = each.id
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
    common = _shared_pixels(box_a, mask_a, box_b, mask_b)
    union = np.count_nonzero(mask_a) + np.count_nonzero(mask_b) - common
    return float(common / union) if union else 0.0


def shared_pixels(one: BoxedMask, other: BoxedMask) -> int:
    """Number of pixels that both masks have."""
    return _shared_pixels(one.box, one.mask, other.box, other.mask)


def _shared_pixels(
    box_a: Box, mask_a: NDArray[np.bool_], box_b: Box, mask_b: NDArray[np.bool_]
) -> int:
    shared = box_a.intersection(box_b)
    if shared is None:
        return 0
    crops = mask_a[shared.relative_to(box_a).slices], mask_b[shared.relative_to(box_b).slices]
    return int(np.count_nonzero(crops[0] & crops[1]))
