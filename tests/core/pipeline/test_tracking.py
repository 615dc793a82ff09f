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


def test_two_queries_for_one_part_give_it_one_id_and_do_not_change_it() -> None:
    tracker = Tracker()
    low = parse_query("the handle of the knife", threshold=0.3)
    left, right = (100, 100, 60, 20), (300, 100, 60, 20)
    first = ids(tracker.update(frame((HANDLE, *left), (HANDLE, *right))))
    both = [(HANDLE, *left), (low, *left), (low, *right), (HANDLE, *right), (low, 500, 9, 60, 20)]
    for _ in range(3):
        during = tracker.update(frame(*both, queries=(HANDLE, low)))
        assert ids(during)[:4] == [first[0], first[0], first[1], first[1]]
        assert ids(during)[4] not in first
        both.reverse()
        during = tracker.update(frame(*both, queries=(low, HANDLE)))
        assert ids(during)[1:] == [first[1], first[1], first[0], first[0]]
        both.reverse()
    assert ids(tracker.update(frame((HANDLE, *left), (HANDLE, *right)))) == first


def test_a_slow_model_keeps_the_ids_and_a_pause_does_not() -> None:
    tracker, box = Tracker(), (HANDLE, 100, 100, 60, 20)
    for second in range(0, 40, 4):
        assert ids(tracker.update(frame(box), stamp_s=float(second))) == [1]
    assert ids(tracker.update(frame(box), stamp_s=50.0)) == [2]
    fast = Tracker()
    for step in range(10):
        assert ids(fast.update(frame(box), stamp_s=0.1 * step)) == [1]
    assert ids(fast.update(frame(box), stamp_s=3.5)) == [2]


def test_a_recording_that_starts_again_has_new_ids() -> None:
    tracker, box = Tracker(), (HANDLE, 100, 100, 60, 20)
    assert ids(tracker.update(frame(box), stamp_s=8.0)) == [1]
    assert ids(tracker.update(frame(box), stamp_s=1.0)) == [2]


def test_frames_out_of_order_keep_the_ids() -> None:
    tracker, box = Tracker(), (HANDLE, 100, 100, 60, 20)
    for stamp in (1.0, 1.1, 1.07, 1.2, 1.199):
        assert ids(tracker.update(frame(box), stamp_s=stamp)) == [1]


def test_what_is_forgotten_gets_an_id_that_was_never_given() -> None:
    tracker, box = Tracker(), (HANDLE, 100, 100, 60, 20)
    assert ids(tracker.update(frame(box))) == [1]
    tracker.forget()
    assert ids(tracker.update(frame(box))) == [2]


def test_a_part_that_its_object_has_not_shown_for_long_is_a_new_one() -> None:
    query = PartQuery("drawer handle", "drawer", "handle")
    drawer = ObjectMask(1, "drawer", 0.9, Box(0, 0, 200, 200), np.ones((200, 200), bool))
    mask = np.ones((10, 10), bool)

    def shown(*places: int) -> PartMasks:
        parts = tuple(
            PartMask(i, query, 0.9, Box(x, 0, 10, 10), mask, object_id=1)
            for i, x in enumerate(places, start=1)
        )
        return PartMasks(480, 640, (query,), parts, "none", objects=(drawer,))

    tracker = Tracker()
    assert ids(tracker.update(shown(0, 100), stamp_s=0.0)) == [1, 2]
    for step in range(1, 30):
        assert ids(tracker.update(shown(100), stamp_s=0.1 * step)) == [2]
    assert ids(tracker.update(shown(100, 0), stamp_s=3.0)) == [2, 3]
