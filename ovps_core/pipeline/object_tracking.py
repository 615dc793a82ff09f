"""Tracking of objects from frame to frame, also while they are hidden for a moment."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ovps_core.pipeline.best_pairs import best_pairs
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import ObjectMask, boxed_mask_iou

MEMORY_S = 2.0
"""Time without the object after which it gets a new id, seconds."""
MEMORY_FRAMES = 3
"""Frames without the object for which it keeps its id, also if a slow model takes longer for them."""
LONGEST_S = 10.0
"""Time after which nothing keeps its id, however slow the model, seconds."""
_MIN_IOU = 0.1
# Between the centres of an object that moved without overlap, in lengths of its longer side.
_MAX_DISTANCE = 1.0
_MAX_RATIO = 4.0  # of areas of one object in two frames


@dataclass(frozen=True)
class _Track:
    """An object as last seen.

    Attributes:
        id: track id.
        found: the object in the last frame that showed it.
        seen_s: time of that frame, seconds.
        moved: (x, y) motion since then, pixels: that of the objects that stayed in view, else its own last motion.
        velocity: (x, y) motion, pixels per frame.
        lost: frames since then.
    """

    id: int
    found: ObjectMask
    seen_s: float
    moved: tuple[float, float] = (0.0, 0.0)
    velocity: tuple[float, float] = (0.0, 0.0)
    lost: int = 0

    def is_remembered(self, now_s: float) -> bool:
        """True if the object keeps its id at a time."""
        elapsed = now_s - self.seen_s
        longest = LONGEST_S if self.lost < MEMORY_FRAMES else MEMORY_S
        return 0 <= elapsed <= longest

    def expected(self, step: tuple[float, float]) -> Box:
        """The last box, moved by the motion since then and one step."""
        x, y = self.moved[0] + step[0], self.moved[1] + step[1]
        return self.found.box.moved(round(x), round(y))


class ObjectTracker:
    """Tracker of the objects of one camera.

    Objects of one name in two frames are matched by the overlap of their masks, then by the distance of their
    centres. An object that is hidden moves on as the median of those in view, since most often the camera
    moves. It keeps its id for :data:`MEMORY_S` seconds.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._ids = itertools.count(1)

    def forget(self) -> None:
        """Drop all tracks; ids that were given are not given again."""
        self._tracks = []

    @property
    def remembered(self) -> frozenset[int]:
        """Track ids of the objects in view and of those that were hidden for a short time."""
        return frozenset(track.id for track in self._tracks)

    def update(self, objects: Sequence[ObjectMask], now_s: float) -> tuple[ObjectMask, ...]:
        """Return the next frame's objects with ``track_id`` filled in.

        Args:
            objects: objects of the next frame.
            now_s: time of that frame, seconds; steadily increasing.
        """
        tracks = [track for track in self._tracks if track.is_remembered(now_s)]
        matches = _match(tracks, objects, _overlaps, _MIN_IOU)
        matches |= _match(tracks, objects, _closeness, 1e-6, taken=matches)
        shifts = [
            _shift(track, objects[matches[track.id]]) for track in tracks if track.id in matches
        ]
        common = tuple(float(value) for value in np.median(shifts, axis=0)) if shifts else None
        ids: dict[int, int] = {}
        kept: list[_Track] = []
        for track in tracks:
            if track.id in matches:
                found = objects[matches[track.id]]
                ids[matches[track.id]] = track.id
                kept.append(_Track(track.id, found, now_s, velocity=_shift(track, found)))
            else:
                x, y = (common[0], common[1]) if common else track.velocity
                moved = track.moved[0] + x, track.moved[1] + y
                kept.append(replace(track, moved=moved, lost=track.lost + 1))
        for index, found in enumerate(objects):
            if index not in ids:
                ids[index] = next(self._ids)
                kept.append(_Track(ids[index], found, now_s))
        self._tracks = kept
        return tuple(replace(found, track_id=ids[i]) for i, found in enumerate(objects))


def _match(
    tracks: Sequence[_Track],
    objects: Sequence[ObjectMask],
    similarity: Callable[[_Track, ObjectMask], float],
    minimum: float,
    taken: dict[int, int] | None = None,
) -> dict[int, int]:
    """Match tracks to objects of the same name so that the sum of similarities is largest (Kuhn, 1955).

    Args:
        tracks, objects: of two frames.
        similarity: of a track and an object of its name.
        minimum: least similarity of a match.
        taken: matches that are already made.

    Returns:
        Track id -> index in ``objects``.
    """
    done = taken or {}
    rows = [track for track in tracks if track.id not in done]
    columns = [i for i in range(len(objects)) if i not in done.values()]
    if not rows or not columns:
        return {}
    values = np.array(
        [
            [
                similarity(track, objects[i]) if track.found.name == objects[i].name else 0.0
                for i in columns
            ]
            for track in rows
        ]
    )
    return {rows[r].id: columns[c] for r, c in best_pairs(values, minimum).items()}


def _overlaps(track: _Track, found: ObjectMask) -> float:
    """Mask IoU with the track where it was, or where it would be by its motion, whichever is higher."""
    mask = track.found.mask
    places = (track.expected((0.0, 0.0)), track.expected(track.velocity))
    return max(boxed_mask_iou(place, mask, found.box, found.mask) for place in places)


def _closeness(track: _Track, found: ObjectMask) -> float:
    """1 for equal centres, 0 from :data:`_MAX_DISTANCE` on and for objects of another size."""
    small, large = sorted((track.found.area, found.area))
    if large > _MAX_RATIO * max(small, 1):
        return 0.0
    x, y = track.expected((0.0, 0.0)).centre_shift(found.box)
    reach = _MAX_DISTANCE * max(track.found.box.width, track.found.box.height)
    return max(0.0, 1.0 - float(np.hypot(x, y)) / max(reach, 1.0))


def _shift(track: _Track, found: ObjectMask) -> tuple[float, float]:
    """Motion of a track's centre in this frame, pixels."""
    return track.expected((0.0, 0.0)).centre_shift(found.box)
