"""Words that choose among objects, and queries for all parts of one."""

from __future__ import annotations

import pytest

from ovps_core.checkpoints.file import read_info
from ovps_core.checkpoints.registry import DEFAULT_MODEL, find_weights
from ovps_core.errors import QueryError
from ovps_core.language.lexicon import read_words
from ovps_core.language.parser import parse_query
from ovps_core.language.selection import (
    Selectors,
    asks_for_all_parts,
    expand_all_parts,
    read_selection,
)
from ovps_core.structures.query import PartQuery
from ovps_core.synthetic.catalogue import OBJECT_PARTS

EVERYTHING = Selectors(objects=True, depth=True)


@pytest.mark.parametrize(
    ("text", "object_name", "part", "which"),
    [
        ("left mug handle", "mug", "handle", "left"),
        ("the left mug's handle", "mug", "handle", "left"),
        ("handle of the mug on the left", "mug", "handle", "left"),
        ("mug handle on the right side", "mug", "handle", "right"),
        ("knife closest to the camera", "knife", "", "nearest"),
        ("the nearest handle", "", "handle", "nearest"),
        ("handle nearest to me", "", "handle", "nearest"),
        ("highest drawer handle", "drawer", "handle", "top"),
        ("the bottommost drawer", "drawer", "", "bottom"),
        ("biggest knife", "knife", "", "largest"),
        ("the handle of each knife", "knife", "handle", "each"),
        ("knife handle", "knife", "handle", ""),
        ("mug left of the knife", "mug left of the knife", "", ""),
    ],
)
def test_position_words_are_read_where_there_are_objects(
    text: str, object_name: str, part: str, which: str
) -> None:
    read = read_selection(parse_query(text), EVERYTHING)
    assert (read.object, read.part, read.which) == (object_name, part, which)
    assert read.text == text


def test_without_objects_a_phrase_stays_as_it_is() -> None:
    for text in ("left mug handle", "handle of each knife"):
        query = parse_query(text)
        assert read_selection(query, Selectors()) is query


def test_a_choice_that_cannot_be_made_is_refused_by_name() -> None:
    with pytest.raises(QueryError, match="'nearest' needs depth"):
        read_selection(parse_query("nearest mug"), Selectors(objects=True))
    with pytest.raises(QueryError, match="'left' chooses among objects"):
        read_selection(PartQuery("mug", "mug", which="left"), Selectors())
    with pytest.raises(QueryError, match="'left' and 'nearest' choose twice"):
        read_selection(parse_query("left nearest mug"), EVERYTHING)
    with pytest.raises(QueryError, match="expected each, left"):
        PartQuery("mug", "mug", which="leftish")


@pytest.mark.parametrize("text", ["all parts of the mug", "the mug's parts", "mug parts"])
def test_all_parts_of_an_object_are_one_phrase_and_several_queries(text: str) -> None:
    query = parse_query(text)
    assert asks_for_all_parts(query)
    known = [("mug", "rim"), ("mug", "handle"), ("pan", "handle")]
    expanded = expand_all_parts(query, known)
    assert [(one.object, one.part, one.text) for one in expanded] == [
        ("mug", "rim", text),
        ("mug", "handle", text),
    ]
    assert all(one.given == query for one in expanded)
    assert [one.label for one in expanded] == ["mug rim", "mug handle"]


def test_parts_that_nobody_knows_are_asked_for_by_name() -> None:
    with pytest.raises(QueryError, match="name them, such as 'gizmo handle'"):
        expand_all_parts(parse_query("all parts of the gizmo"), None)


def test_a_model_for_any_words_is_asked_for_the_parts_of_every_household_object() -> None:
    parts: dict[str, list[str]] = {}
    for name, part in OBJECT_PARTS:
        parts.setdefault(name, []).append(part)
    assert read_words("household_parts.yaml") == parts
    packaged = read_info(find_weights(DEFAULT_MODEL)).config.object_parts
    assert {name for name, _ in packaged} <= set(parts)
    for name in parts:
        assert expand_all_parts(parse_query(f"all parts of the {name}"), None)
    phrases = {name: f"all parts of the {name}" for name in ("cup", "kettle", "bottle", "fridge")}
    expanded = {
        name: [query.part for query in expand_all_parts(parse_query(phrase), None)]
        for name, phrase in phrases.items()
    }
    assert expanded == {
        "cup": ["handle", "rim", "body"],
        "kettle": ["handle", "spout", "lid", "knob", "body"],
        "bottle": ["mouth", "body", "cap"],  # a benchmark has it
        "fridge": ["button panel", "door", "drawer", "side"],
    }


def test_parts_of_a_chosen_object_say_which_object_is_meant() -> None:
    query = read_selection(parse_query("all parts of the left mug"), EVERYTHING)
    (rim,) = expand_all_parts(query, [("mug", "rim")])
    assert (rim.label, rim.text) == ("left mug rim", query.text)
    assert parse_query("Left mug's handle").label == "Left mug's handle"


def test_counting_from_a_side_is_no_choice() -> None:
    for text in ("second mug from the left", "mug from the left side", "mug handle from right"):
        query = parse_query(text)
        assert read_selection(query, EVERYTHING) is query
