"""A part is read for an object that has it: by a synonym, by a verb, and where a name joins both."""

from __future__ import annotations

import pytest
from core.language.test_no_word_is_lost import read, refusal

from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import ReadAs


@pytest.fixture(scope="module")
def tiny() -> PartSegmenter:
    """The packaged model, with a fixed vocabulary."""
    return PartSegmenter.from_pretrained("ovps-tiny", backend="torch")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("washing machine door", "washing machine"),
        ("dryer door", "dryer"),
        ("dryer door handle", "dryer door"),
        ("zorgle door", "zorgle door"),
        ("blender bowl", "blender"),
        ("zorgle bowl", "zorgle bowl"),
    ],
)
def test_a_part_of_an_unknown_thing_is_no_object_of_that_name(
    tiny: PartSegmenter, text: str, name: str
) -> None:
    assert f"this model knows no object {name!r}" in refusal(tiny, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("edge of the table", "no 'edge' of table, but top, leg."),
        ("surface of the spoon", "no 'surface' of spoon, but handle, bowl."),
        ("bottom of the mug", "no 'bottom' of mug, but handle, rim, body."),
        ("open the scissors", "no 'lid' of scissors, but handle, blade."),
        ("cut with the mug", "no 'blade' of mug, but handle, rim, body."),
        ("turn on the lamp", "no 'button' of lamp, but base, shaft, shade."),
        ("sit on the table", "no 'seat' of table, but top, leg."),
    ],
)
def test_another_word_for_a_part_or_a_verb_is_refused_for_an_object_without_that_part(
    tiny: PartSegmenter, text: str, says: str
) -> None:
    assert f"this model knows {says}" in refusal(tiny, text)


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("edge of the knife", ("knife", "blade")),
        ("pan edge", ("pan", "rim")),
        ("edge of the bowl", ("bowl", "rim")),
        ("push the door", ("door", "panel")),
        ("push the drawer", ("drawer", "front")),
        ("kettle handle", ("kettle", "handle")),  # never trained, by its class names
        ("pick up the kettle", ("kettle", "handle")),
        ("grip of the kettle", ("kettle", "handle")),
        ("open the jar", ("jar", "lid")),
        ("cutlery handle", ("fork, knife, spoon", "handle")),
        ("fridge grip", ("fridge", "handle")),
        ("bottle top", ("bottle", "cap")),
        ("wine bottle top", ("bottle", "cap")),
        ("table top", ("table", "top")),
        ("kitchen tabletop", ("table", "top")),
        ("knife edge", ("knife", "blade")),
        ("lampshades", ("lamp", "shade")),
        ("door leaf", ("door", "panel")),
        ("handle bar", ("", "handle")),
    ],
)
def test_an_object_has_the_part_that_it_is_read_with(
    tiny: PartSegmenter, text: str, read_as: tuple[str, str]
) -> None:
    query = read(tiny, text)
    assert query.read_as == ReadAs(*read_as) and query.ignored == ()
