"""Whatever an annotation of Label Studio holds, it gives masks of the picture's size or is refused by name."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovps_core.errors import DatasetError
from ovps_core.labelling.regions import Region, Shape, from_results, to_results

HEIGHT, WIDTH = 12, 16
SHAPES: list[Shape] = ["polygon"]
if importlib.util.find_spec("label_studio_sdk") is not None:
    SHAPES.append("brush")
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=4), st.just({}),
    st.lists(st.one_of(st.floats(-20, 140), st.lists(st.floats(-20, 140), max_size=3)), max_size=4),
    st.lists(st.integers(0, 255), max_size=40),
)  # fmt: skip


def results() -> list[dict[str, Any]]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[3:8, 4:10] = True
    return [r for shape in SHAPES for r in to_results(Region("ovps:1", "mug rim", mask), shape)]


VALID = results()


def regions(found: list[Any]) -> list[Region]:
    return list(from_results(found, HEIGHT, WIDTH, "a.jpg"))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_annotations_with_a_changed_value(data: st.DataObject) -> None:
    found: list[Any] = copy.deepcopy(VALID)
    position = data.draw(st.integers(0, len(found) - 1))
    place = data.draw(st.sampled_from(["all", "value", *found[position]]))
    if place == "all":
        found[position] = data.draw(ODD)
    elif place == "value":
        key = data.draw(st.sampled_from(sorted(found[position]["value"])))
        found[position]["value"][key] = data.draw(ODD)
    else:
        found[position][place] = data.draw(ODD)
    with contextlib.suppress(DatasetError):
        for region in regions(found):
            assert region.mask.shape == (HEIGHT, WIDTH) and region.mask.any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_rotation": 90}, "turned by 90 degrees"),
        ({"original_width": WIDTH + 1}, "is of a picture of"),
        ({"value": {"points": [[1, 1], [50, 50]], "polygonlabels": ["mug rim"]}}, "3 points"),
        ({"value": {"points": [[400, 1], [50, 9], [2, 2]]}}, "not percent"),
        ({"value": {"points": [[1, 1], [50, 9], [2, 2]], "polygonlabels": ["a", "b"]}}, "labels"),
        ({"value": None}, "cannot be decoded"),
    ],
)
def test_a_region_that_contradicts_itself_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError, match=said) as raised:
        regions([VALID[0] | change])
    assert str(raised.value).startswith("a.jpg: ")
