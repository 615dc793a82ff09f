"""Hyphens, underscores, quotes and filled fields hide no exclusion; a text that was not read is reported."""

from __future__ import annotations

import pytest

from ovps_core.errors import QueryError
from ovps_core.language.fields import check_fields
from ovps_core.language.parser import parse_query
from ovps_core.language.qualifiers import find_negation
from ovps_core.language.refusal import split_kind
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import PartQuery

JOINED = """do-not-touch knife|do_not_touch_knife|no_knife|not_knife|avoid_knife|dont_touch_knife
everything_but_knife|everything-but-knife|never_touch_mug|never-use knife|no-go mug|'no' knife|_no_ knife
without_handle_mug|non_knife|lid_free pot|not/knife|no~knife|do-not-touch non-stick pan|shouldnt touch knife
no-knife-handle|zero-knives|no-go-mug|never-use-knife|no no-stick pan|no-2 knife"""


@pytest.fixture(scope="module")
def tiny() -> PartSegmenter:
    """The packaged model, with a fixed vocabulary."""
    return PartSegmenter.from_pretrained("ovps-tiny", backend="torch")


@pytest.mark.parametrize("text", JOINED.replace("\n", "|").split("|"))
def test_signs_that_join_words_hide_no_exclusion(text: str) -> None:
    with pytest.raises(QueryError, match="excludes something"):
        parse_query(text)


@pytest.mark.parametrize(
    "text",
    [
        *("non-stick pan", "non_stick pan", "no-stick pan", "no_slip mug", "hands-free dispenser"),
        *(
            "hands_free dispenser",
            "hands-off valve",
            "knives' handle",
            "chef's knife",
            "knot-handle",
        ),
        *("forget-me-not vase", "zero-waste bottle", "non-toxic bottle", "salt/pepper shaker"),
        *("no-touch soap dispenser", "no-parking sign", "no-show socks", "no-glare lamp"),
        *("coke-zero can", "zero-sugar bottle", "zero-clearance pan", "no-kink hose"),
    ],
)
def test_kinds_with_such_words_exclude_nothing(text: str) -> None:
    assert find_negation(text) is None


def test_a_kind_that_begins_with_no_is_answered(tiny: PartSegmenter) -> None:
    (query,) = tiny.encode_queries(["no-touch soap dispenser"]).queries
    assert query.object == "no touch soap dispenser" and query.ignored == ("no touch",)


def test_a_word_that_excludes_is_never_a_kind() -> None:
    assert split_kind("never use knife", ("knife",), "object") == ("", "never use knife")
    assert split_kind("non stick pan", ("pan",), "object") == ("non stick", "pan")


@pytest.mark.parametrize(
    ("object_name", "part_name", "said"),
    [
        ("no knife", "handle", "'no' in the object 'no knife'"),
        ("knife", "not blade", "'not' in the part 'not blade'"),
        ("knife", "no_blade", "in the part 'no_blade'"),
        ("avoid knife", "", "'avoid'"),
        ("non knife", "", "'non knife'"),
        ("forbidden knife", "", "'forbidden'"),
        ("-knife", "", "'-'"),
        ("!knife", "", "'!'"),
        ("no-handle mug", "", "'no-handle'"),
        ("not the knife", "", "'not'"),
        ("do not touch the knife", "", "'not'"),
        ("without lid", "", "'without'"),
    ],
)
def test_names_in_fields_that_exclude_something_are_refused(
    object_name: str, part_name: str, said: str, tiny: PartSegmenter
) -> None:
    query = PartQuery("it", object_name, part_name)
    with pytest.raises(QueryError, match="excludes something") as raised:
        tiny.encode_queries([query])
    assert said in str(raised.value)
    assert not tiny.read([query])[0] and tiny.read([query])[1][0].text == "it"


@pytest.mark.parametrize(
    ("object_name", "part_name"),
    [
        *(("skip", "rim"), ("no. 2 pencil", ""), ("no 2 pencil", "tip"), ("saw", "missing tooth")),
        *(
            ("Coke Zero can", "lid"),
            ("plate no 3", "rim"),
            ("no-parking sign", ""),
            ("non-stick pan", ""),
        ),
        *(("pot without lid", ""), ("minus", ""), ("forget-me-not vase", "rim")),
    ],
)
def test_other_names_in_fields_are_taken_as_they_are(object_name: str, part_name: str) -> None:
    query = PartQuery("x", object_name, part_name)
    checked = check_fields(query)
    assert (checked.object, checked.part) == (object_name, part_name)


@pytest.mark.parametrize(
    ("text", "object_name", "part_name", "is_read"),
    [
        ("mug handle", "knife", "blade", False),
        ("knife handle", "knife", "blade", False),
        ("mug handle", "mug", "", False),
        ("not the blade", "knife", "handle", False),
        ("the mug's handle", "mugs", "handles", True),
        ("mug", "mug", "handle", True),
        ("handle", "mug", "handle", True),
        ("cup", "mug", "", True),
        ("edge of the pan", "pan", "rim", True),
        ("it", "knife", "blade", True),
    ],
)
def test_a_text_that_names_something_else_than_the_fields_is_reported_as_ignored(
    text: str, object_name: str, part_name: str, is_read: bool, tiny: PartSegmenter
) -> None:
    (query,) = tiny.encode_queries([PartQuery(text, object_name, part_name)]).queries
    assert query.text == text and (query.object, query.part) == (object_name, part_name)
    assert query.ignored == (() if is_read else (text,))
    again = tiny.encode_queries([query]).queries
    assert again[0].ignored == query.ignored
