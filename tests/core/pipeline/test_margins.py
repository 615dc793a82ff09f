"""How much better an answer is than the next best one."""

from __future__ import annotations

import numpy as np
import pytest

from ovps_core.pipeline.postprocess.components import SegmentOptions, part_masks
from ovps_core.structures.query import PartQuery, ReadAs

KNIFE, FORK = (
    PartQuery("knife handle", "knife", "handle"),
    PartQuery("fork handle", "fork", "handle"),
)


def logits(*patches: tuple[slice, slice, float]) -> np.ndarray:
    """A map that is low everywhere but in some patches."""
    values = np.full((40, 40), -8.0, np.float32)
    for rows, columns, value in patches:
        values[rows, columns] = value
    return values


TOP, BOTTOM = slice(2, 12), slice(22, 32)


def test_another_phrase_for_the_same_pixels_takes_from_the_margin() -> None:
    maps = np.stack([logits((TOP, TOP, 2.0)), logits((TOP, TOP, 1.0), (BOTTOM, BOTTOM, 1.0))])
    found = part_masks(maps, (KNIFE, FORK), 40, 40, SegmentOptions(), "model")
    knife = found.of(KNIFE)[0]
    there, elsewhere = sorted(found.of(FORK), key=lambda part: part.margin)
    assert knife.margin == pytest.approx(knife.score - there.score, abs=0.02)
    assert there.margin == pytest.approx(-knife.margin, abs=0.02)
    assert elsewhere.margin == pytest.approx(elsewhere.score)


def test_a_whole_object_is_no_rival_of_its_part_nor_a_synonym_of_a_name() -> None:
    mug = PartQuery("mug", "mug", read_as=ReadAs("mug"))
    cup = PartQuery("cup handle", "cup", "handle", read_as=ReadAs("mug", "handle"))
    handle = PartQuery("mug handle", "mug", "handle", read_as=ReadAs("mug", "handle"))
    maps = np.stack([logits((TOP, TOP, 2.0))] * 3)
    for part in part_masks(maps, (mug, cup, handle), 40, 40, SegmentOptions(), "model").parts:
        assert part.margin == pytest.approx(part.score)


def test_the_place_that_max_parts_leaves_out_takes_from_the_margin() -> None:
    best = PartQuery("knife handle", "knife", "handle", max_parts=1)
    maps = logits((TOP, TOP, 2.0), (BOTTOM, BOTTOM, 1.5))[None]
    (part,) = part_masks(maps, (best,), 40, 40, SegmentOptions(), "model").parts
    both = part_masks(maps, (KNIFE,), 40, 40, SegmentOptions(), "model").parts
    assert part.margin == pytest.approx(both[0].score - both[1].score)
