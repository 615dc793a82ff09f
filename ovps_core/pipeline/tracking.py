"""Tracking of parts from frame to frame by mask overlap."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ovps_core.errors import UsageError
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import PartMask, PartMasks, boxed_mask_iou
from ovps_core.structures.query import PartQuery

MEMORY = 5
"""Frames that a part may be out of sight and keep its id."""
_UNLIKELY = 1e6


@dataclass(frozen=True)
class _Track:
    """A part as last seen, with its motion.

    Attributes:
        id: track id.
        part: the part in the last frame that showed it.
        shift: (x, y) motion, pixels a frame.
        lost: frames since it was last seen.
    """

    id: int
    part: PartMask
    shift: tuple[float, float]
    lost: int = 0

    @property
    def expected(self) -> Box:
        """The last box, moved by the part's last motion."""
        steps = self.lost + 1
        roi = self.part.box
        x = round(roi.x_offset + steps * self.shift[0])
        y = round(roi.y_offset + steps * self.shift[1])
        return Box(x, y, roi.width, roi.height)


class Tracker:
    """Tracker of the parts of one camera; it fills in their ``track_id``.

    Parts of one query in two frames are matched by the largest sum of overlaps (Kuhn, 1955;
    as SORT, Bewley et al. 2016), each part first moved on by its own motion.  An id is never given
    twice; a part out of sight for more than :data:`MEMORY` frames comes back as a new one.

        tracker = Tracker()
        masks = tracker.update(segmenter.segment(image, queries))

    Args:
        iou: minimum mask IoU of one part in two frames, 0..1.

    Raises:
        UsageError: ``iou`` is not within 0..1.
    """

    def __init__(self, iou: float = 0.3) -> None:
        self.iou = _checked(iou)
        self._tracks: dict[tuple[str, str], list[_Track]] = {}
        self._ids = itertools.count(1)

    def update(self, masks: PartMasks, iou: float | None = None) -> PartMasks:
        """Return the next frame's parts with ``track_id`` filled in.

        Parts of queries that are no longer asked are forgotten.

        Args:
            masks: the next frame's parts.
            iou: minimum overlap in this frame; the constructor's if not given.

        Raises:
            UsageError: ``iou`` is not within 0..1.
        """
        min_iou = self.iou if iou is None else _checked(iou)
        asked = dict.fromkeys(_key(query) for query in masks.queries)
        numbers: dict[int, int] = {}
        tracks: dict[tuple[str, str], list[_Track]] = {}
        for key in asked:
            seen = [part for part in masks.parts if _key(part.query) == key]
            tracks[key] = list(self._follow(self._tracks.get(key, []), seen, numbers, min_iou))
        self._tracks = tracks
        parts = tuple(replace(part, track_id=numbers[part.id]) for part in masks.parts)
        return replace(masks, parts=parts)

    def _follow(
        self,
        tracks: Sequence[_Track],
        seen: Sequence[PartMask],
        numbers: dict[int, int],
        min_iou: float,
    ) -> Iterator[_Track]:
        """One query's tracks after this frame; fills ``numbers``: part id to track id."""
        matches = _match(tracks, seen, min_iou)
        for row, track in enumerate(tracks):
            if row in matches:
                part = seen[matches[row]]
                numbers[part.id] = track.id
                yield _Track(track.id, part, _motion(track, part))
            elif track.lost < MEMORY:
                yield replace(track, lost=track.lost + 1)
        for part in seen:
            if part.id not in numbers:
                numbers[part.id] = next(self._ids)
                yield _Track(numbers[part.id], part, (0.0, 0.0))


def _checked(iou: float) -> float:
    if not 0.0 <= iou <= 1.0:
        raise UsageError(f"minimum overlap of {iou}; expected 0 to 1")
    return iou


def _key(query: PartQuery) -> tuple[str, str]:
    """Key of a query: its object and part, whatever its wording and threshold."""
    return query.object, query.part


def _match(tracks: Sequence[_Track], seen: Sequence[PartMask], least: float) -> dict[int, int]:
    """Matches from row of a track to column of a seen part."""
    from scipy.optimize import linear_sum_assignment

    if not tracks or not seen:
        return {}
    overlaps = np.array([[_overlap(track, part) for part in seen] for track in tracks])
    fits = overlaps >= max(least, 1e-9)
    rows, columns = linear_sum_assignment(np.where(fits, -overlaps, _UNLIKELY))
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if fits[r, c]}


def _overlap(track: _Track, part: PartMask) -> float:
    """Mask IoU with the track where it was and where it should be by now; the higher of the two."""
    stayed = boxed_mask_iou(track.part.box, track.part.mask, part.box, part.mask)
    if track.shift == (0.0, 0.0):
        return stayed
    return max(stayed, boxed_mask_iou(track.expected, track.part.mask, part.box, part.mask))


def _motion(track: _Track, part: PartMask) -> tuple[float, float]:
    """Pixels per frame between the boxes' middles, smoothed over two frames."""
    old, new = track.part.box, part.box
    frames = track.lost + 1
    x = (new.x_offset - old.x_offset + (new.width - old.width) / 2) / frames
    y = (new.y_offset - old.y_offset + (new.height - old.height) / 2) / frames
    return (x + track.shift[0]) / 2, (y + track.shift[1]) / 2
