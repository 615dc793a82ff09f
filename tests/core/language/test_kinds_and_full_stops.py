"""Words that say which one, exclude or command are no kinds of a thing, and full stops divide phrases."""

from __future__ import annotations

import pytest

from ovps_core.errors import QueryError
from ovps_core.language.parser import split_phrases
from ovps_core.language.refusal import split_kind
from ovps_core.segmenter import PartSegmenter


@pytest.fixture(scope="module")
def tiny() -> PartSegmenter:
    """The packaged model, with a fixed vocabulary."""
    return PartSegmenter.from_pretrained("ovps-tiny", backend="torch")


COMMANDS = "hide remove discard drop stop protect kill release halt"
SIZES = "10mm 500ml 1.5l 16oz 2x 3rd M8 12-inch dual mug2"
STATES = "stuck capped uncapped lidded unlidded upturned overfilled jammed spilled zipped tied leftward upsidedown"


@pytest.mark.parametrize("word", f"{COMMANDS} {SIZES} {STATES}".split())
def test_what_says_which_one_or_what_to_do_is_never_left_out_as_a_kind(
    word: str, tiny: PartSegmenter
) -> None:
    named = word.lower().replace("-", " ").split()[0]
    with pytest.raises(QueryError, match=named):
        tiny.encode_queries([f"{word} bottle"])


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("high chair", "chair", "high"),
        ("cast iron pan", "pan", "cast iron"),
        ("dry erase marker", "marker", "dry erase"),
        ("iced tea glass", "wine glass", "iced tea"),
        ("serrated bread knife", "knife", "serrated"),
        ("insulated mug", "mug", "insulated"),
        ("make-up bottle", "bottle", "make up"),
        ("multi use knife", "knife", "multi use"),
        ("flat-bladed screwdriver", "screwdriver", "flat bladed"),
        ("linseed oil bottle", "bottle", "linseed oil"),
        ("Dr. Pepper bottle", "bottle", "dr. pepper"),
    ],
)
def test_kinds_with_words_that_say_which_one_elsewhere_are_kinds(
    text: str, name: str, kind: str, tiny: PartSegmenter
) -> None:
    (query,) = tiny.encode_queries([text]).queries
    assert query.read_as is not None
    assert (query.read_as.object, query.ignored) == (name, (kind,))


def test_a_command_before_a_button_is_its_kind() -> None:
    assert split_kind("stop button", ("button",), "part") == ("stop", "button")
    assert split_kind("stop mug", ("mug",), "object") == ("", "stop mug")


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("mug. knife.", ["mug", "knife"]),
        ("mug . knife . fork .", ["mug", "knife", "fork"]),
        ("knife handle. mug rim", ["knife handle", "mug rim"]),
        ("mug... knife", ["mug", "knife"]),
        ("find the mug. red.", ["find the mug, red"]),
        ("mug.", ["mug."]),
        ("mug no. 2", ["mug no. 2"]),
        ("Dr. Pepper bottle. mug", ["Dr. Pepper bottle", "mug"]),
        ("1.5 l bottle", ["1.5 l bottle"]),
        ("1. mug", ["1. mug"]),
        ("12 oz. bottle", ["12 oz. bottle"]),
        ("8 fl. oz. cup. mug", ["8 fl. oz. cup", "mug"]),
        ("10 mm. wrench", ["10 mm. wrench"]),
    ],
)
def test_full_stops_divide_as_commas_do_but_not_in_abbreviations(
    text: str, phrases: list[str]
) -> None:
    assert split_phrases(text) == phrases


def test_names_between_full_stops_are_all_answered(tiny: PartSegmenter) -> None:
    queries = tiny.encode_queries(["mug. knife handle. fork."]).queries
    assert [(query.object, query.part) for query in queries] == [
        ("mug", ""),
        ("knife", "handle"),
        ("fork", ""),
    ]
