"""A misspelt word that says which one, or excludes something, is no kind of a thing."""

from __future__ import annotations

import pytest

from ovps_core.errors import QueryError
from ovps_core.language.spelling import meant_qualifier
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import ReadAs


@pytest.fixture(scope="module")
def tiny() -> PartSegmenter:
    """The packaged model, with a fixed vocabulary."""
    return PartSegmenter.from_pretrained("ovps-tiny", backend="torch")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("lft mug", "left mug"),
        ("elft mug", "left mug"),
        ("letf mug handle", "left mug handle"),
        ("rihgt mug", "right mug"),
        ("leftt mug", "left mug"),
        ("secnd mug", "second mug"),
        ("rde mug", "red mug"),
        ("blak mug", "black mug"),
        ("whte mug", "white mug"),
        ("gren mug", "green mug"),
        ("yelow mug", "yellow mug"),
        ("orang mug", "orange mug"),
    ],
)
def test_a_misspelt_word_that_says_which_one_is_refused_with_what_may_be_meant(
    text: str, meant: str, tiny: PartSegmenter
) -> None:
    word = text.split()[0]
    with pytest.raises(QueryError, match=f"cannot use '{word}'.*Did you mean '{meant}'"):
        tiny.encode_queries([text])


@pytest.mark.parametrize(
    ("text", "meant"),
    [("nto knife", "not"), ("wihtout mug", "without"), ("exlcude mug", "exclude")],
)
def test_a_misspelt_exclusion_is_refused(text: str, meant: str, tiny: PartSegmenter) -> None:
    with pytest.raises(QueryError, match=f"looks like '{meant}', which no model can do"):
        tiny.encode_queries([text])


@pytest.mark.parametrize(
    "words",
    [
        *("leftside", "north", "eastward", "northwest", "neighbouring", "clockwise", "port side"),
        *("alternative", "unreachable", "untouchable", "nonexistent", "oversize", "silvery"),
    ],
)
def test_rarer_words_that_say_which_one_are_known(words: str, tiny: PartSegmenter) -> None:
    with pytest.raises(QueryError, match=f"cannot use '{words}'"):
        tiny.encode_queries([f"{words} mug"])
    with pytest.raises(QueryError, match="excludes something"):
        tiny.encode_queries(["donottouch knife"])


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("unbreakable wine glass", "wine glass", "unbreakable"),
        ("unbreakable bottle cap", "bottle", "unbreakable"),
        ("backup flashlight", "flashlight", "backup"),
        ("western basket", "basket", "western"),
        ("uncomfortable chair", "chair", "uncomfortable"),
        ("kitchen-side door handle", "door", "kitchen side"),
        ("backhand pan", "pan", "backhand"),
    ],
)
def test_common_words_that_resemble_such_words_are_kinds(
    text: str, name: str, kind: str, tiny: PartSegmenter
) -> None:
    (query,) = tiny.encode_queries([text]).queries
    assert query.read_as is not None
    assert (query.read_as.object, query.ignored) == (name, (kind,))


@pytest.mark.parametrize(
    "text", ["pasta pot", "latte mug", "lint brush", "dirt shovel", "multi use knife", "gin bottle"]
)
def test_real_words_that_resemble_such_a_word_are_kinds(text: str, tiny: PartSegmenter) -> None:
    kind, _, name = text.rpartition(" ")
    (query,) = tiny.encode_queries([text]).queries
    assert (query.read_as, query.ignored) == (ReadAs(name), (kind,))
    assert not any(map(meant_qualifier, text.split()))


@pytest.mark.parametrize(
    "word",
    [
        *("tefal", "cute", "bento", "teng", "bluey", "reds", "ben", "sven", "tina", "hal"),
        *("oranges", "father", "tow", "cats", "leaning", "leaping", "starlet", "moore"),
    ],
)
def test_names_and_words_one_letter_from_such_a_word_are_none(word: str) -> None:
    assert meant_qualifier(word) is None


@pytest.mark.parametrize(
    ("text", "name"), [("Tefal pan", "pan"), ("cute mug", "mug"), ("Teng wrench", "wrench")]
)
def test_brands_are_kinds(text: str, name: str, tiny: PartSegmenter) -> None:
    (query,) = tiny.encode_queries([text]).queries
    assert query.read_as == ReadAs(name)
