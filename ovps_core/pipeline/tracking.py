"""Tracking of parts from frame to frame by mask overlap, and of the objects that they belong to."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ovps_core.errors import UsageError
from ovps_core.pipeline.best_pairs import best_pairs
from ovps_core.pipeline.object_tracking import LONGEST_S, MEMORY_S, ObjectTracker
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import PartMask, PartMasks, boxed_mask_iou

MEMORY = 5
"""Maximum number of frames without the part after which it keeps its id."""
_SAME = 0.7  # mask IoU from which answers to two queries for the same object and part are one part
_PAUSE = 3.0  # a pause is as long as so many usual times between two frames
_OUT_OF_ORDER_S = 0.5  # stamps that go back by less are not those of a recording that starts again
_FRAME_S = 1 / 30  # time between two frames without stamps, seconds

_Key = tuple[str, str, int]
"""Object, part, and track id of the object that a track of a part belongs to; 0 without an object."""


@dataclass(frozen=True)
class _Track:
    """A part as last seen, with its motion.

    Attributes:
        id: track id.
        part: the part in the last frame that showed it.
        shift: (x, y) motion, pixels per frame.
        seen_s: time of that frame, seconds.
        lost: frames since it was last seen.
    """

    id: int
    part: PartMask
    shift: tuple[float, float]
    seen_s: float
    lost: int = 0

    def is_remembered(self, now_s: float, in_object: bool) -> bool:
        """True if the part keeps its id at a time without it; within an object also in many frames."""
        elapsed = now_s - self.seen_s
        if self.lost < MEMORY:
            return elapsed <= LONGEST_S
        return in_object and elapsed <= MEMORY_S

    @property
    def expected(self) -> Box:
        """The last box, moved by the part's last motion."""
        steps = self.lost + 1
        box = self.part.box
        x = round(box.x_offset + steps * self.shift[0])
        y = round(box.y_offset + steps * self.shift[1])
        return Box(x, y, box.width, box.height)


class Tracker:
    """Tracker of the parts of one camera; it fills in their ``track_id``.

    Parts of one query in two frames are matched so that the sum of their overlaps is largest (Kuhn, 1955;
    as in SORT, Bewley et al. 2016). Before matching, each part is moved by its last motion. An id is
    never used twice. A part that was not seen for more than :data:`MEMORY` frames gets a new id.

    Parts of an object in view keep their ids for 2 s, as the object does, see
    :class:`~ovps_core.pipeline.object_tracking.ObjectTracker`. After a pause of the frames all ids are new.

    Answers to several queries for the same object and part that cover the same pixels have one track id.

        tracker = Tracker()
        masks = tracker.update(segmenter.segment(image, queries))

    Args:
        iou: minimum mask IoU of one part in two frames, 0..1.

    Raises:
        UsageError: ``iou`` is not within 0..1.
    """

    def __init__(self, iou: float = 0.3) -> None:
        self.iou = _checked(iou)
        self._tracks: dict[_Key, list[_Track]] = {}
        self._ids = itertools.count(1)
        self._objects = ObjectTracker()
        self._now_s: float | None = None
        self._steps_s: deque[float] = deque(maxlen=5)

    def forget(self) -> None:
        """Drop all tracks, as after a pause; ids that were given are not given again."""
        self._tracks = {}
        self._objects.forget()
        self._now_s = None
        self._steps_s.clear()

    def update(
        self, masks: PartMasks, iou: float | None = None, *, stamp_s: float | None = None
    ) -> PartMasks:
        """Return the next frame's parts with ``track_id`` filled in.

        Tracks of queries that are not in ``masks.queries`` are dropped.

        Args:
            masks: the next frame's parts.
            iou: minimum overlap in this frame; the constructor's if not given.
            stamp_s: time of the frame, seconds; without it frames are taken to come at 30 Hz.

        Raises:
            UsageError: ``iou`` is not within 0..1.
        """
        min_iou = self.iou if iou is None else _checked(iou)
        now_s = self._advance(stamp_s)
        objects = self._objects.update(masks.objects, now_s)
        object_tracks = {found.id: found.track_id for found in objects}
        asked = {(query.object, query.part) for query in masks.queries}
        by_key: dict[_Key, list[PartMask]] = {
            key: []
            for key in self._tracks
            if key[:2] in asked and (key[2] == 0 or key[2] in self._objects.remembered)
        }
        for part in masks.parts:
            key = part.query.object, part.query.part, object_tracks.get(part.object_id, 0)
            by_key.setdefault(key, []).append(part)
        track_ids: dict[int, int] = {}
        tracks: dict[_Key, list[_Track]] = {}
        for key, seen in by_key.items():
            first = _first_of_same(seen)
            distinct = [part for part in seen if first[part.id] == part.id]
            tracks[key] = list(self._follow(key, distinct, track_ids, min_iou, now_s))
            track_ids |= {part.id: track_ids[first[part.id]] for part in seen}
        self._tracks = tracks
        parts = tuple(replace(part, track_id=track_ids[part.id]) for part in masks.parts)
        return replace(masks, parts=parts, objects=objects)

    def _advance(self, stamp_s: float | None) -> float:
        """Time of the next frame, seconds; tracks are dropped after a pause or when a recording starts again."""
        if self._now_s is None:
            self._now_s = 0.0 if stamp_s is None else stamp_s
            return self._now_s
        step = _FRAME_S if stamp_s is None else stamp_s - self._now_s
        if -_OUT_OF_ORDER_S <= step < 0:
            return self._now_s
        now_s = self._now_s + step
        usual = float(np.median(self._steps_s)) if self._steps_s else LONGEST_S
        if step > min(LONGEST_S, max(MEMORY_S, _PAUSE * usual)) or step < 0:
            self.forget()
        else:
            self._steps_s.append(step)
        self._now_s = now_s
        return now_s

    def _follow(
        self,
        key: _Key,
        seen: Sequence[PartMask],
        track_ids: dict[int, int],
        min_iou: float,
        now_s: float,
    ) -> Iterator[_Track]:
        """Yield the tracks of one key after this frame, and add part id -> track id to ``track_ids``."""
        tracks = self._tracks.get(key, [])
        matches = _match(tracks, seen, min_iou)
        if key[2]:  # within an object the rest are the same parts too, wherever they have moved
            rows = [row for row in range(len(tracks)) if row not in matches]
            rows.sort(key=lambda row: tracks[row].lost)  # one long gone is the least likely
            others = [i for i in range(len(seen)) if i not in matches.values()]
            matches |= dict(zip(rows, others, strict=False))
        for row, track in enumerate(tracks):
            if row in matches:
                part = seen[matches[row]]
                track_ids[part.id] = track.id
                yield _Track(track.id, part, _motion(track, part), now_s)
            elif track.is_remembered(now_s, in_object=bool(key[2])):
                yield replace(track, lost=track.lost + 1)
        for part in seen:
            if part.id not in track_ids:
                track_ids[part.id] = next(self._ids)
                yield _Track(track_ids[part.id], part, (0.0, 0.0), now_s)


def _checked(iou: float) -> float:
    if not 0.0 <= iou <= 1.0:
        raise UsageError(f"minimum overlap of {iou}; expected 0 to 1")
    return iou


def _first_of_same(seen: Sequence[PartMask]) -> dict[int, int]:
    """Part id -> id of the first answer for the same pixels, which may be another query's."""
    groups: list[list[PartMask]] = []
    for part in seen:
        others = [group for group in groups if all(one.query != part.query for one in group)]
        overlaps = [
            boxed_mask_iou(group[0].box, group[0].mask, part.box, part.mask) for group in others
        ]
        if overlaps and max(overlaps) >= _SAME:
            others[int(np.argmax(overlaps))].append(part)
        else:
            groups.append([part])
    return {part.id: group[0].id for group in groups for part in group}


def _match(tracks: Sequence[_Track], seen: Sequence[PartMask], min_iou: float) -> dict[int, int]:
    """Match tracks to parts: index in ``tracks`` -> index in ``seen``."""
    if not tracks or not seen:
        return {}
    overlaps = np.array([[_overlap(track, part) for part in seen] for track in tracks])
    return best_pairs(overlaps, max(min_iou, 1e-9))


def _overlap(track: _Track, part: PartMask) -> float:
    """Mask IoU with the track at its last or at its expected position, whichever is higher."""
    stayed = boxed_mask_iou(track.part.box, track.part.mask, part.box, part.mask)
    if track.shift == (0.0, 0.0):
        return stayed
    return max(stayed, boxed_mask_iou(track.expected, track.part.mask, part.box, part.mask))


def _motion(track: _Track, part: PartMask) -> tuple[float, float]:
    """Motion of the box's centre, pixels per frame, averaged with the previous motion."""
    x, y = track.part.box.centre_shift(part.box)
    frames = track.lost + 1
    return (x / frames + track.shift[0]) / 2, (y / frames + track.shift[1]) / 2
