"""People name parts in many ways, and every way is read; what cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovps_core.errors import ConfigError, QueryError
from ovps_core.language.lexicon import lexicon
from ovps_core.language.parser import parse_queries
from ovps_core.structures.query import PartQuery


@pytest.mark.parametrize(
    ("text", "object", "part"),
    [
        ("knife handle", "knife", "handle"),
        ("handle of the knife", "knife", "handle"),
        ("the mug's rim", "mug", "rim"),
        ("a drawer knob", "drawer", "knob"),
        ("handle", "", "handle"),
        ("knife", "knife", ""),
        ("Knives", "knife", ""),
        ("the handles of the mugs", "mug", "handle"),
        ("the bottles' caps", "bottle", "cap"),
        ("“mug handle”", "mug", "handle"),
        ("'mug handle'", "mug", "handle"),
        ("KNIFE  HANDLE.", "knife", "handle"),
        ("swivel chair back", "swivel chair", "back"),
        ("license plate", "", "license plate"),
        ("car license plate", "car", "license plate"),
        ("cabinet door handle", "cabinet door", "handle"),
        ("chef's knife handle", "chef's knife", "handle"),
        ("wine glass", "wine glass", ""),
        ("red mug handle", "red mug", "handle"),
        ("scissors", "scissors", ""),
        ("spoon bowl", "spoon", "bowl"),
        ("salad bowl", "salad bowl", ""),
        ("kitchen drawer", "kitchen drawer", ""),
        ("gas oven door", "gas oven", "door"),
        ("the doorknobs", "door", "knob"),
        ("cupboard doorhandle", "cupboard door", "handle"),
        ("knifehandle", "knife", "handle"),
        ("desktop", "desktop", ""),
        ("toothbrush", "toothbrush", ""),
        ("thermos lid", "thermos", "lid"),
        ("tongs", "tongs", ""),
        ("cactus", "cactus", ""),
        ("bars", "bar", ""),
        ("key rings", "key ring", ""),
    ],
)
def test_a_phrase_is_read_as_an_object_and_a_part(text: str, object: str, part: str) -> None:
    (query,) = parse_queries(text)
    assert (query.object, query.part) == (object, part)
    assert query.text == text


@pytest.mark.parametrize(
    ("text", "object", "part"),
    [
        ("grasp the knife", "knife", "handle"),
        ("pick up the wine glass", "wine glass", "stem"),
        ("cut with the knife", "knife", "blade"),
        ("something to pour from", "", "spout"),
        ("grab the pan by the handle", "pan", "handle"),
        ("grasp the knife by its blade", "knife", "blade"),
        ("where to hold the hammer", "hammer", "handle"),
        ("cut knife", "knife", "blade"),
        ("open red drawer", "red drawer", "handle"),
        ("push button", "", "push button"),
        ("press button", "", "button"),
        ("grip of the knife", "knife", "grip"),
        ("grip on the knife", "knife", "grip"),
        ("slice of bread", "bread", "slice"),
        ("scoop handle", "scoop", "handle"),
        ("push broom handle", "push broom", "handle"),
        ("pour over kettle", "pour over kettle", ""),
        ("drink can", "drink can", ""),
        ("push cart", "push cart", ""),
        ("pick axe", "pick axe", ""),
        ("cut glass bowl", "cut glass bowl", ""),
        ("push the cart", "cart", "button"),
    ],
)
def test_what_people_mean_to_do(text: str, object: str, part: str) -> None:
    (query,) = parse_queries(text)
    assert (query.object, query.part) == (object, part)


def test_affordances_are_the_users_to_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "affordances.yaml"
    table.write_text("ring: {verbs: [ring], part: clapper, of: {door: button}}\n")
    monkeypatch.setenv("OVPS_AFFORDANCES", str(table))
    lexicon.cache_clear()
    try:
        bell, door = parse_queries("ring the bell, ring the door")
        assert (bell.part, door.part) == ("clapper", "button")
        table.write_text("ring: [nonsense]\n")
        lexicon.cache_clear()
        with pytest.raises(ConfigError, match=str(table)):
            parse_queries("knife")
    finally:
        monkeypatch.undo()
        lexicon.cache_clear()


def test_several_in_one_text_and_two_names_stay_two() -> None:
    queries = parse_queries("knife handle, mug rim; knife grip\nknife handle")
    assert [q.text for q in queries] == ["knife handle", "mug rim", "knife grip"]


def test_an_object_and_part_that_are_given_are_kept() -> None:
    query = PartQuery("whatever", object="blue widget", part="left flange")
    assert (query.object, query.part) == ("blue widget", "left flange")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "without words"),
        (" , ;", "without words"),
        ("!!!", "without words"),
        ("a" * 500, "500 characters"),
        ("knife\x00handle", "control characters"),
        ("knife \x1b[31m handle", "control characters"),
    ],
)
def test_unusable_text_is_named(text: str, says: str) -> None:
    with pytest.raises(QueryError, match=says):
        parse_queries(text)
