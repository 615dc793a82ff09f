"""Objects of one image: crops around them, their parts told apart, and the choice of one among several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import UsageError
from ovps_core.structures.boxes import Box, check_corners, no_area
from ovps_core.structures.masks import ObjectMask, PartMask, PartMasks, shared_pixels
from ovps_core.structures.query import BY_DEPTH, PartQuery

Found = TypeVar("Found", ObjectMask, PartMask)
_SAME = 0.5  # share of the smaller of two masks that both have, from which they are one part
_CUT_OFF = 1.25  # ratio of areas from which the smaller of them was cut off at a border
_BORDER = 0.06  # share of an object's size by which parts may reach beyond its mask


def objects_from_boxes(
    boxes: Iterable[tuple[str, Sequence[float]]], height: int, width: int
) -> tuple[ObjectMask, ...]:
    """Objects that the caller knows by their boxes, with ids 1, 2, ... and masks that fill the boxes.

    Args:
        boxes: name and (x1, y1, x2, y2) in pixels of each object.
        height, width: size of the image, pixels; boxes are cut to it.

    Raises:
        UsageError: a box has no area within the image, or is not four numbers.

    Example:
        >>> objects_from_boxes([("mug", (10, 20, 40, 60))], 480, 640)[0].box
        Box(x_offset=10, y_offset=20, width=30, height=40)
    """
    found: list[ObjectMask] = []
    for name, corners in boxes:
        x1, y1, x2, y2 = check_corners(corners, name, height, width)
        left, top = max(0, round(x1)), max(0, round(y1))
        box = Box(left, top, min(width, round(x2)) - left, min(height, round(y2)) - top)
        if box.width <= 0 or box.height <= 0:
            raise no_area(corners, name, height, width)
        full = np.ones((box.height, box.width), bool)
        found.append(ObjectMask(len(found) + 1, name, 1.0, box, full))
    return tuple(found)


def check_objects(objects: Sequence[ObjectMask], height: int, width: int) -> None:
    """Check objects that a caller gives for an image of ``height`` x ``width`` pixels.

    Raises:
        UsageError: two have the same id, one has none, or a box is not in the image.
    """
    ids = [found.id for found in objects]
    if min(ids, default=1) < 1 or len(set(ids)) < len(ids):
        raise UsageError(f"objects with the ids {ids}; expected different ids from 1")
    for found in objects:
        _, _, right, bottom = found.box.corners
        if right > width or bottom > height:
            raise UsageError(f"an object in {found.box}, but the image has {width}x{height} pixels")


def crop_around(box: Box, height: int, width: int, aspect: float, padding: float) -> Box:
    """Box of the crop that shows an object with its surroundings, in the shape of the network's input.

    Args:
        box: of the object.
        height, width: size of the image, pixels.
        aspect: width by height of the network's input.
        padding: surroundings on each side, as a share of the object's size.
    """
    wide, high = box.width * (1 + 2 * padding), box.height * (1 + 2 * padding)
    wide, high = max(wide, high * aspect), max(high, wide / aspect)
    wide, high = min(round(wide), width), min(round(high), height)
    left = box.x_offset + box.width / 2 - wide / 2
    top = box.y_offset + box.height / 2 - high / 2
    left, top = min(max(round(left), 0), width - wide), min(max(round(top), 0), height - high)
    return Box(int(left), int(top), int(wide), int(high))


def region_of(found: ObjectMask, others: Sequence[ObjectMask], crop: Box) -> NDArray[np.bool_]:
    """Pixels of a crop where the parts of an object may be, bool [crop.height, crop.width].

    The object's mask with a border, because a mask may end before a thin handle does. Pixels of other objects'
    masks belong to them. A box without a mask of its own holds no such pixels.
    """
    region = _in_crop(found, crop)
    size = max(2, round(_BORDER * max(found.box.width, found.box.height)))
    kernel = np.ones((2 * size + 1, 2 * size + 1), np.uint8)
    own, region = region, cv2.dilate(region.view(np.uint8), kernel).astype(bool)
    if not found.mask.all():
        for other in others:
            if other is not found and other.box.intersection(crop) and not other.mask.all():
                region &= own | ~_in_crop(other, crop)
    return region


def _in_crop(found: ObjectMask, crop: Box) -> NDArray[np.bool_]:
    canvas = np.zeros((crop.height, crop.width), bool)
    shared = found.box.intersection(crop)
    if shared is not None:
        canvas[shared.relative_to(crop).slices] = found.mask[shared.relative_to(found.box).slices]
    return canvas


def without_duplicates(
    parts: Sequence[PartMask], objects: Mapping[int, ObjectMask]
) -> list[PartMask]:
    """Parts without those that two objects claim: each stays with the object that it fits better.

    Where the boxes of two objects overlap, the crop of each shows the parts of both. A part that is cut off at the
    border of one box belongs to the other. If both boxes hold it whole, the smaller box is the object's own.

    Args:
        parts: highest score first, with different ids.
        objects: objects by id.
    """
    kept: list[PartMask] = []
    for part in parts:
        rivals = [
            other
            for other in kept
            if other.query == part.query
            and other.object_id != part.object_id
            and shared_pixels(part, other) > _SAME * min(part.area, other.area)
        ]
        if all(_fits_better(part, other, objects) for other in rivals):
            dropped = {other.id for other in rivals}
            kept = [*(other for other in kept if other.id not in dropped), part]
    return kept


def _fits_better(part: PartMask, other: PartMask, objects: Mapping[int, ObjectMask]) -> bool:
    if part.area > _CUT_OFF * other.area:
        return True
    if other.area > _CUT_OFF * part.area:
        return False
    return objects[part.object_id].box.area < objects[other.object_id].box.area


@dataclass(frozen=True)
class _Place:
    """Place and size by which one of several things is chosen."""

    x: float
    y: float
    area: int

    @classmethod
    def of(cls, found: ObjectMask | PartMask) -> _Place:
        box = found.box
        return cls(box.x_offset + box.width / 2, box.y_offset + box.height / 2, found.area)


_ORDERS: dict[str, Callable[[_Place], float]] = {
    "left": lambda place: place.x,
    "right": lambda place: -place.x,
    "top": lambda place: place.y,
    "bottom": lambda place: -place.y,
    "largest": lambda place: -place.area,
    "smallest": lambda place: place.area,
}


def choose(found: Sequence[Found], which: str) -> tuple[Found, ...]:
    """The one of several objects or parts that a word chooses by its place or size in the image.

    Args:
        found: all that are meant.
        which: a word of :data:`~ovps_core.structures.query.WHICH`. "each" and "", and "nearest" and "farthest",
            which need depth (:func:`choose_by_depth`), keep all. "middle" takes the one nearest to the mean x.
    """
    if not found:
        return ()
    if which == "middle":
        mean = float(np.mean([_Place.of(one).x for one in found]))
        return (min(found, key=lambda one: abs(_Place.of(one).x - mean)),)
    if which not in _ORDERS:
        return tuple(found)
    return (min(found, key=lambda one: _ORDERS[which](_Place.of(one))),)


def best_parts(parts: Iterable[PartMask], max_parts: int) -> tuple[PartMask, ...]:
    """The best parts of an image, highest score first, with the ids 1, 2, ...

    Parts among which :func:`choose_by_depth` will choose all stay, beside ``max_parts`` others.
    """
    ordered = sorted(parts, key=lambda part: -part.score)
    others = [part for part in ordered if part.query.which not in BY_DEPTH]
    dropped = {id(part) for part in others[max_parts:]}
    kept = [part for part in ordered if id(part) not in dropped]
    return tuple(replace(part, id=i) for i, part in enumerate(kept, start=1))


def choose_by_depth(
    masks: PartMasks,
    depth_m: NDArray[np.float32],
    depth_range: Sequence[float],
    max_parts: int | None = None,
) -> PartMasks:
    """Keep the parts of the nearest or farthest object, for the queries that say so.

    An object is as far as the median depth of its pixels, along the optical axis; a part without an object is as
    far as its own pixels. Objects without usable depth are not chosen.

    Args:
        masks: parts and objects of one image.
        depth_m: depth of the same image, float32 [H, W], metres; NaN where nothing was measured.
        depth_range: (minimum, maximum) usable depth, metres.
        max_parts: maximum number of parts of the image, after the choice; None for no limit.
    """
    dropped: set[int] = set()
    for query in masks.queries:
        if query.which not in BY_DEPTH:
            continue
        by_part = _chooses_parts(masks, query)
        known = _known_depths(masks, query, depth_m, depth_range)
        pick = min if query.which == "nearest" else max
        chosen = pick(known, key=known.__getitem__) if known else None
        dropped |= {
            part.id
            for part in masks.of(query)
            if (part.id if by_part else part.object_id) != chosen
        }
    kept = [part for part in masks.parts if part.id not in dropped]
    return replace(masks, parts=tuple(kept[:max_parts]))


def undecided_by_depth(
    masks: PartMasks,
    chosen: PartMasks,
    depth_m: NDArray[np.float32],
    depth_range: Sequence[float],
) -> tuple[PartQuery, ...]:
    """Queries with parts among which :func:`choose_by_depth` has chosen none, since no depth is known."""
    with_parts = {part.query for part in chosen.parts}
    return tuple(
        query
        for query in masks.queries
        if query.which in BY_DEPTH
        and query not in with_parts
        and masks.of(query)
        and not _known_depths(masks, query, depth_m, depth_range)
    )


def _chooses_parts(masks: PartMasks, query: PartQuery) -> bool:
    """True if a query chooses one of its parts; False if it chooses an object."""
    return query.object == "" or not masks.objects


def _known_depths(
    masks: PartMasks,
    query: PartQuery,
    depth_m: NDArray[np.float32],
    depth_range: Sequence[float],
) -> dict[int, float]:
    """Depth of each part or object among which a query chooses, by id; only of those that have depth."""
    parts = masks.of(query)
    candidates: dict[int, ObjectMask | PartMask] = {part.id: part for part in parts}
    if not _chooses_parts(masks, query):
        objects = {found.id: found for found in masks.objects}
        meant = (query.read_as or query).object.split(", ")
        names = {*meant, *(objects[part.object_id].name for part in parts)}
        candidates = {part.object_id: objects[part.object_id] for part in parts}
        candidates |= {  # the nearest mug may hide its handle
            one.id: one for one in masks.objects if one.name in names
        }
    depths = {key: _depth(one, depth_m, depth_range) for key, one in candidates.items()}
    return {key: depth for key, depth in depths.items() if np.isfinite(depth)}


def without_chosen_by_depth(masks: PartMasks) -> PartMasks:
    """The masks without parts of queries that choose by depth, for an image without depth."""
    parts = tuple(part for part in masks.parts if part.query.which not in BY_DEPTH)
    return replace(masks, parts=parts)


def _depth(
    found: ObjectMask | PartMask, depth_m: NDArray[np.float32], depth_range: Sequence[float]
) -> float:
    window = depth_m[found.box.slices][found.mask]
    with np.errstate(invalid="ignore"):
        usable = window[(window >= depth_range[0]) & (window <= depth_range[1])]
    return float(np.median(usable)) if len(usable) else float("nan")
