"""Ids of objects and their parts while the camera moves and one of them is hidden."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ovps_core.pipeline.objects import objects_from_boxes
from ovps_core.pipeline.tracking import Tracker
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery

HANDLE = PartQuery("mug handle", "mug", "handle")
RATE = 10


def frame(places: dict[int, int], names: tuple[str, ...] = ("mug",)) -> PartMasks:
    """Objects of 30 x 30 pixels at x positions by number, each with a handle; ids are not those of the numbers."""
    found = objects_from_boxes(
        [(names[n % len(names)], (x, 20, x + 30, 50)) for n, x in places.items()], 100, 2000
    )
    parts = tuple(
        PartMask(
            i,
            HANDLE,
            0.9,
            Box(one.box.x_offset, 30, 6, 10),
            np.ones((10, 6), bool),
            object_id=one.id,
        )
        for i, one in enumerate(found, start=1)
    )
    return PartMasks(100, 2000, (HANDLE,), parts, "model", objects=found)


def ids(masks: PartMasks) -> dict[int, tuple[int, int]]:
    """Track ids of object and handle by the order of the objects."""
    handles = {part.object_id: part.track_id for part in masks.parts}
    return {i: (one.track_id, handles[one.id]) for i, one in enumerate(masks.objects)}


def test_an_object_hidden_for_a_second_keeps_its_id_and_that_of_its_handle() -> None:
    tracker = Tracker()
    first = ids(tracker.update(frame({0: 100, 1: 200, 2: 300}), stamp_s=0.0))
    assert len({number for pair in first.values() for number in pair[:1]}) == 3
    last = first
    for step in range(1, 10 * RATE):
        places = {n: 100 + 100 * n + 7 * step for n in range(3)}  # a camera that turns
        if 3 * RATE <= step < 4 * RATE:
            del places[1]
        last = ids(tracker.update(frame(places), stamp_s=step / RATE))
    assert last == first


def test_an_object_hidden_for_longer_gets_a_new_id() -> None:
    tracker = Tracker()
    first = ids(tracker.update(frame({0: 100}), stamp_s=0.0))
    for step in range(1, 4):
        tracker.update(frame({}), stamp_s=step * 0.9)
    assert ids(tracker.update(frame({0: 100}), stamp_s=3.1)) != first


def test_a_slow_model_does_not_lose_the_ids() -> None:
    tracker = Tracker()
    first = ids(tracker.update(frame({0: 100}), stamp_s=0.0))
    tracker.update(frame({}), stamp_s=5.0)
    assert ids(tracker.update(frame({0: 110}), stamp_s=10.0)) == first


def test_objects_of_other_names_and_sizes_do_not_take_an_id_over() -> None:
    tracker = Tracker()
    first = tracker.update(frame({0: 100}), stamp_s=0.0)
    other = tracker.update(frame({0: 100}, names=("knife",)), stamp_s=0.1)
    assert other.objects[0].track_id != first.objects[0].track_id
    (mug,) = objects_from_boxes([("mug", (140, 20, 145, 25))], 100, 2000)
    small = tracker.update(replace(first, objects=(mug,), parts=()), stamp_s=0.2)
    assert small.objects[0].track_id not in {
        one.track_id for one in (*first.objects, *other.objects)
    }


def test_a_clock_that_is_set_back_starts_new_ids() -> None:
    tracker = Tracker()
    first = ids(tracker.update(frame({0: 100}), stamp_s=100.0))
    assert ids(tracker.update(frame({0: 100}), stamp_s=5.0)) != first


def test_without_objects_parts_are_tracked_as_before() -> None:
    tracker = Tracker()
    plain = replace(frame({0: 100}), objects=())
    plain = replace(plain, parts=tuple(replace(part, object_id=0) for part in plain.parts))
    track_ids = {tracker.update(plain).parts[0].track_id for _ in range(3)}
    assert len(track_ids) == 1
