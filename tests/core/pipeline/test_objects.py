"""Objects of an image: crops, parts that two boxes hold, and the choice of one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ovps_core.errors import UsageError
from ovps_core.pipeline.objects import (
    best_parts,
    check_objects,
    choose,
    choose_by_depth,
    crop_around,
    objects_from_boxes,
    region_of,
    without_chosen_by_depth,
    without_duplicates,
)
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import ObjectMask, PartMask, PartMasks
from ovps_core.structures.query import PartQuery, ReadAs

HANDLE = PartQuery("mug handle", "mug", "handle")
MUGS = objects_from_boxes(
    [("mug", (10, 50, 40, 90)), ("mug", (100, 10, 180, 90)), ("mug", (60, 40, 90, 70))], 100, 200
)


def part(number: int, box: Box, owner: int, query: PartQuery = HANDLE) -> PartMask:
    return PartMask(
        number, query, 0.9, box, np.ones((box.height, box.width), bool), object_id=owner
    )


def test_boxes_are_cut_to_the_image_and_empty_ones_are_refused() -> None:
    (found,) = objects_from_boxes([("mug", (-5, 90, 20, 130))], 100, 200)
    assert found.box == Box(0, 90, 20, 10) and found.mask.all()
    with pytest.raises(UsageError, match="has no area in an image of 200x100"):
        objects_from_boxes([("mug", (210, 0, 220, 10))], 100, 200)


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ((MUGS[0], MUGS[0]), "ids \\[1, 1\\]; expected different ids from 1"),
        ((replace(MUGS[0], id=0),), "ids \\[0\\]"),
        ((replace(MUGS[0], box=Box(180, 0, 30, 40)),), "the image has 200x100 pixels"),
    ],
)
def test_objects_of_a_caller_are_checked(objects: tuple[ObjectMask, ...], said: str) -> None:
    check_objects(MUGS, 100, 200)
    with pytest.raises(UsageError, match=said):
        check_objects(objects, 100, 200)


def test_a_crop_holds_the_object_has_the_networks_shape_and_stays_in_the_image() -> None:
    crop = crop_around(Box(300, 200, 40, 10), 480, 640, aspect=1.125, padding=0.25)
    assert crop.width / crop.height == pytest.approx(1.125, abs=0.03)
    assert crop.x_offset <= 290 and crop.corners[2] >= 350
    corner = crop_around(Box(0, 0, 40, 10), 480, 640, aspect=1.125, padding=0.25)
    assert (corner.x_offset, corner.y_offset) == (0, 0)
    assert crop_around(Box(0, 0, 640, 480), 480, 640, 1.125, 0.25) == Box(0, 0, 640, 480)


def test_pixels_of_another_objects_mask_belong_to_it() -> None:
    round_mask = np.ones((40, 30), bool)
    round_mask[0, 0] = False  # a mask, not only a box
    one = replace(MUGS[0], mask=round_mask)
    other = replace(one, id=2, box=Box(41, 50, 30, 40))
    inside = region_of(one, [one, other], Box(0, 0, 200, 100))
    assert inside[60, 39] and inside[60, 40] and not inside[60, 42]
    assert region_of(one, [one], Box(0, 0, 200, 100))[60, 41]


def test_a_part_in_two_boxes_belongs_to_the_smaller_box_or_to_that_which_holds_it_whole() -> None:
    objects = {found.id: found for found in MUGS}
    box = Box(20, 60, 10, 10)
    assert [
        one.object_id for one in without_duplicates([part(1, box, 2), part(2, box, 1)], objects)
    ] == [1]
    cut_off = part(1, Box(20, 60, 10, 4), 1)
    assert [one.object_id for one in without_duplicates([cut_off, part(2, box, 2)], objects)] == [2]


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        *(("left", [1]), ("right", [2]), ("middle", [3]), ("top", [2]), ("bottom", [1])),
        *(("largest", [2]), ("smallest", [3]), ("each", [1, 2, 3]), ("", [1, 2, 3])),
        ("nearest", [1, 2, 3]),
    ],
)
def test_words_choose_by_place_and_size_in_the_image(which: str, ids: list[int]) -> None:
    assert [found.id for found in choose(MUGS, which)] == ids


def test_the_nearest_object_is_chosen_by_the_depth_of_its_own_pixels() -> None:
    nearest = replace(HANDLE, which="nearest")
    parts = (
        part(1, Box(12, 60, 5, 5), 1, nearest),
        part(2, Box(110, 20, 5, 5), 2, nearest),
        part(3, Box(110, 20, 5, 5), 2),
    )
    masks = PartMasks(100, 200, (nearest, HANDLE), parts, "model", objects=MUGS)
    depth = np.full((100, 200), 0.9, np.float32)
    depth[MUGS[1].box.slices] = 0.6
    depth[parts[1].box.slices] = 2.5  # a hole in the handle shows the floor
    chosen = choose_by_depth(masks, depth, (0.1, 3.0))
    assert [one.id for one in chosen.parts] == [2, 3]
    nothing = choose_by_depth(masks, np.full_like(depth, np.nan), (0.1, 3.0))
    assert (
        [one.id for one in nothing.parts]
        == [3]
        == [one.id for one in without_chosen_by_depth(masks).parts]
    )


def test_the_nearest_mug_without_a_visible_handle_has_none() -> None:
    nearest = replace(HANDLE, which="nearest")
    masks = PartMasks(
        100, 200, (nearest,), (part(1, Box(12, 60, 5, 5), 1, nearest),), "model", objects=MUGS
    )
    depth = np.full((100, 200), 0.9, np.float32)
    depth[MUGS[1].box.slices] = 0.6
    assert not choose_by_depth(masks, depth, (0.1, 3.0)).parts


def test_an_object_of_a_group_that_shows_no_part_may_be_the_nearest() -> None:
    group = PartQuery(
        "nearest cutlery handle",
        "cutlery",
        "handle",
        which="nearest",
        read_as=ReadAs("fork, knife", "handle"),
    )
    knife, fork = replace(MUGS[0], name="knife"), replace(MUGS[1], name="fork")
    parts = (part(1, Box(12, 60, 5, 5), knife.id, group),)
    masks = PartMasks(100, 200, (group,), parts, "model", objects=(knife, fork))
    depth = np.full((100, 200), 0.9, np.float32)
    assert choose_by_depth(masks, depth, (0.1, 3.0)).parts == parts
    depth[fork.box.slices] = 0.6
    assert not choose_by_depth(masks, depth, (0.1, 3.0)).parts


def test_the_number_of_parts_is_limited_after_the_nearest_is_chosen() -> None:
    nearest = replace(HANDLE, which="nearest")
    found = [
        replace(part(0, Box(110, 20, 5, 5), 2, nearest), score=0.6),
        replace(part(0, Box(12, 60, 5, 5), 1, nearest), score=0.9),
        *(replace(part(0, Box(60, 40, 5, 5), 3), score=0.1 * i) for i in (5, 7, 8)),
    ]
    best = best_parts(found, 1)
    assert [(one.id, one.score) for one in best] == [(1, 0.9), (2, 0.8), (3, 0.6)]
    masks = PartMasks(100, 200, (nearest, HANDLE), best, "model", objects=MUGS)
    depth = np.full((100, 200), 0.9, np.float32)
    depth[MUGS[1].box.slices] = 0.6
    chosen = choose_by_depth(masks, depth, (0.1, 3.0), max_parts=2)
    assert [one.id for one in chosen.parts] == [2, 3]
    assert [one.id for one in choose_by_depth(masks, depth, (0.1, 3.0), max_parts=1).parts] == [2]
