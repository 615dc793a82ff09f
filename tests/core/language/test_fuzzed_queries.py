"""Any text is answered or refused phrase by phrase, and an answer accounts for every word."""

from __future__ import annotations

import functools

from hypothesis import given, settings
from hypothesis import strategies as st

from ovps_core.errors import QueryError
from ovps_core.language.parser import split_phrases
from ovps_core.models.interface import EncodedQueries
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import PartQuery

many = settings(max_examples=150, deadline=None)
KNOWN = ["knife", "mug", "pan", "drawer", "handle", "rim", "blade", "knives", "screwdriver"]
LINKS = [
    "the",
    "a",
    "of",
    "'s",
    "its",
    "please",
    "find",
    "my",
    "all",
    "each",
    "left",
    "second",
    "any",
]
EXCLUDING = ["not", "without", "except", "but", "no", "never"]
UNKNOWN = ["zorgle", "brimsel", "quorvant", "42nd", "кружка", "杯", "🥄"]
words = st.lists(st.sampled_from([*KNOWN, *LINKS, *EXCLUDING, *UNKNOWN]), min_size=1, max_size=7)


@functools.cache
def tiny() -> PartSegmenter:
    return PartSegmenter.from_pretrained("ovps-tiny")


def encode(text: str) -> EncodedQueries | None:
    """The queries and refusals of a text; None if every phrase is refused."""
    try:
        return tiny().encode_queries([text])
    except QueryError as error:
        assert error.refused and all(query.reason for query in error.refused)
        return None


def told(query: PartQuery) -> str:
    """Everything that an answer says of how its phrase was read."""
    return " ".join([str(query.read_as), *query.corrected, *query.ignored]).lower()


@many
@given(text=st.text(max_size=80))
def test_every_phrase_of_any_text_is_answered_or_refused(text: str) -> None:
    encoded = encode(text)
    if encoded is not None:
        assert len(encoded.queries) + len(encoded.refused) == len(
            dict.fromkeys(split_phrases(text))
        )


@many
@given(drawn=words)
def test_words_in_any_order(drawn: list[str]) -> None:
    encoded = encode(" ".join(drawn).replace(" 's", "'s"))
    for query in encoded.queries if encoded else ():
        said = told(query)
        assert not set(drawn) & set(EXCLUDING), query
        for word in set(drawn) & set(UNKNOWN):
            assert word.lower() in said, f"{word!r} of {query.text!r} is lost: {said}"


@many
@given(
    phrase=st.sampled_from(["knife handle", "handle of the mug", "the drawer's handle", "pan"]),
    word=st.sampled_from([*UNKNOWN, *EXCLUDING, "red", "broken", "wooden", "two", "biggest"]),
    place=st.integers(0, 4),
)
def test_a_word_added_to_a_phrase_is_reported_or_refused(
    phrase: str, word: str, place: int
) -> None:
    parts = phrase.split()
    parts.insert(min(place, len(parts)), word)
    encoded = encode(" ".join(parts))
    if encoded is not None:
        (query,) = encoded.queries
        assert word not in EXCLUDING and word.lower() in told(query), query
