"""The same part keeps its id while in view: crossing, vanishing, returning, and asked for anew."""

from __future__ import annotations

import numpy as np
import pytest

from ovps_core.errors import UsageError
from ovps_core.language.parser import parse_query
from ovps_core.pipeline.tracking import MEMORY, Tracker
from ovps_core.structures.masks import Box, ObjectMask, PartMask, PartMasks
from ovps_core.structures.query import PartQuery

HANDLE, RIM = parse_query("knife handle"), parse_query("mug rim")


def frame(*boxes: tuple[PartQuery, int, int, int, int], queries=(HANDLE, RIM)) -> PartMasks:
    """Filled boxes (query, x, y, width, height), in order of score."""
    parts = tuple(
        PartMask(i, query, 1 - 0.01 * i, Box(x, y, w, h), np.ones((h, w), bool))
        for i, (query, x, y, w, h) in enumerate(boxes, start=1)
    )
    return PartMasks(480, 640, tuple(queries), parts, "none")


def ids(masks: PartMasks) -> list[int]:
    return [part.track_id for part in masks.parts]


def test_ids_stay_whatever_the_order_of_scores() -> None:
    tracker = Tracker()
    first = tracker.update(frame((HANDLE, 100, 100, 60, 20), (HANDLE, 300, 100, 60, 20)))
    assert ids(first) == [1, 2]
    second = tracker.update(frame((HANDLE, 304, 102, 60, 20), (HANDLE, 95, 99, 58, 22)))
    assert ids(second) == [2, 1]
    assert [part.id for part in second.parts] == [1, 2]


def test_crossing_parts_keep_their_ids() -> None:
    tracker = Tracker()
    for step in range(40):
        right, left = 100 + 8 * step, 420 - 8 * step
        masks = tracker.update(frame((HANDLE, right, 100, 60, 20), (HANDLE, left, 100, 60, 20)))
        assert ids(masks) == [1, 2], step


def test_fast_part_is_followed_by_its_motion() -> None:
    tracker = Tracker()
    x = 50.0
    for step in range(12):
        masks = tracker.update(frame((HANDLE, round(x), 100, 40, 40)))
        assert ids(masks) == [1], step
        x += 4 * step  # in the end further than its own width each frame


def test_short_loss_keeps_the_id_and_long_loss_does_not() -> None:
    tracker = Tracker()
    box = (HANDLE, 100, 100, 60, 20)
    assert ids(tracker.update(frame(box))) == [1]
    for _ in range(MEMORY):
        assert ids(tracker.update(frame())) == []
    assert ids(tracker.update(frame(box))) == [1]
    for _ in range(MEMORY + 1):
        tracker.update(frame())
    assert ids(tracker.update(frame(box))) == [2]


def test_queries_never_share_an_id() -> None:
    tracker = Tracker()
    both = frame((HANDLE, 100, 100, 60, 20), (RIM, 100, 100, 60, 20))
    assert ids(tracker.update(both)) == [1, 2]
    swapped = frame((RIM, 100, 100, 60, 20), (HANDLE, 100, 100, 60, 20))
    assert ids(tracker.update(swapped)) == [2, 1]


def test_query_change_forgets_what_is_no_longer_asked() -> None:
    tracker = Tracker()
    handle, rim = (HANDLE, 100, 100, 60, 20), (RIM, 300, 100, 60, 20)
    assert ids(tracker.update(frame(handle, rim))) == [1, 2]
    assert ids(tracker.update(frame(rim, queries=[RIM]))) == [2]
    assert ids(tracker.update(frame(handle, rim))) == [3, 2]


def test_another_wording_or_threshold_is_the_same_part() -> None:
    tracker = Tracker()
    tracker.update(frame((HANDLE, 100, 100, 60, 20)))
    again = parse_query("the handle of the knife", threshold=0.4)
    assert ids(tracker.update(frame((again, 100, 100, 60, 20), queries=[again]))) == [1]


def test_masks_decide_not_boxes() -> None:
    tracker = Tracker()
    lower = np.tril(np.ones((40, 40), bool), -1)
    upper = np.triu(np.ones((40, 40), bool), 1)

    def one(*shapes: np.ndarray) -> PartMasks:
        parts = tuple(
            PartMask(i, HANDLE, 0.9, Box(10, 10, 40, 40), shape)
            for i, shape in enumerate(shapes, start=1)
        )
        return PartMasks(480, 640, (HANDLE,), parts, "none")

    assert ids(tracker.update(one(lower, upper))) == [1, 2]
    assert ids(tracker.update(one(upper, lower))) == [2, 1]


def test_least_overlap_is_a_share() -> None:
    with pytest.raises(UsageError, match="expected 0 to 1"):
        Tracker(iou=30)


def test_a_part_that_moves_in_its_object_does_not_take_the_id_of_one_long_gone() -> None:
    query = PartQuery("drawer handle", "drawer", "handle")
    drawer = ObjectMask(1, "drawer", 0.9, Box(0, 0, 200, 200), np.ones((200, 200), bool))

    def handles(*places: tuple[int, int]) -> PartMasks:
        parts = tuple(
            PartMask(i, query, 0.9, Box(x, y, 10, 10), np.ones((10, 10), bool), object_id=1)
            for i, (x, y) in enumerate(places, start=1)
        )
        return PartMasks(480, 640, (query,), parts, "none", objects=(drawer,))

    tracker = Tracker()
    assert ids(tracker.update(handles((0, 0), (100, 100)))) == [1, 2]
    for _ in range(20):
        assert ids(tracker.update(handles((100, 100)))) == [2]
    assert ids(tracker.update(handles((120, 100)))) == [2]
    assert ids(tracker.update(handles((120, 100), (0, 20)))) == [2, 1]
