"""No word of a query is lost unsaid: it is understood, reported as ignored, or refused by name."""

from __future__ import annotations

import pytest
from helpers.toy_models import toy

from ovps_core.errors import QueryError
from ovps_core.language.parser import parse_queries, parse_query, split_phrases
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import PartQuery, ReadAs


@pytest.fixture(scope="module")
def tiny() -> PartSegmenter:
    """The packaged model, with a fixed vocabulary."""
    return PartSegmenter.from_pretrained("ovps-tiny", backend="torch")


def read(segmenter: PartSegmenter, text: str) -> PartQuery:
    (query,) = segmenter.encode_queries([text]).queries
    return query


def refusal(segmenter: PartSegmenter, text: str) -> str:
    with pytest.raises(QueryError) as raised:
        segmenter.encode_queries([text])
    reason = str(raised.value)
    assert reason.startswith(repr(text)) and "\n" not in reason and len(reason) < 260
    return reason


NEGATIONS = [
    ("not the knife", "not"),
    ("no knife", "no"),
    ("do not touch the knife", "not"),
    ("don’t touch the knife", "don't"),
    ("everything but the knife", "but"),
    ("anything except the mug handle", "except"),
    ("mugs except the left one", "except"),
    ("the mug that is not blue", "not"),
    ("the mug that isn't blue", "isn't"),
    ("mug without handle", "without"),
    ("without handle", "without"),
    ("avoid the knife blade", "avoid"),
    ("all tools other than the hammer", "other than"),
    ("stay away from the knife", "away from"),
    ("the knife's handle, not the blade", "not"),
    ("nothing", "nothing"),
    ("!knife", "!"),
    ("lid-free pot", "lid-free"),
    ("non-knife", "non-knife"),
    ("no-handle mug", "no-handle"),
    ("zero knives", "zero"),
    ("hardly the knife", "hardly"),
    ("disregard the knife", "disregard"),
    ("forbidden knife", "forbidden"),
    ("prohibited mug", "prohibited"),
    ("banned mug", "banned"),
    ("aint mug", "aint"),
    ("nope, knife", "nope"),
    ("nah mug", "nah"),
    ("un-knife", "un-knife"),
    ("-knife", "-"),
    ("--knife", "--"),
    ("——knife", "——"),
    ("Messer verboten", "verboten"),
    ("kein Messer", "kein"),
    ("pas le couteau", "pas"),
    ("la taza sin mango", "sin"),
    ("не нож", "не"),
    ("不要刀", "不"),
]


@pytest.mark.parametrize(("text", "word"), NEGATIONS)
def test_a_phrase_that_excludes_something_is_refused_for_every_model(text: str, word: str) -> None:
    with pytest.raises(QueryError, match="excludes something") as raised:
        parse_query(text)
    shown = repr(text)
    assert str(raised.value).startswith(f"{shown}: ") and word in str(raised.value)[len(shown) :]


@pytest.mark.parametrize(
    ("text", "unused", "instead"),
    [
        ("mug next to the knife", "next to the knife", "mug"),
        ("mug behind the knife", "behind the knife", "mug"),
        ("knife in the mug", "in the mug", "knife"),
        ("the mug on the table", "on the table", "mug"),
        ("mug, next to the knife", "next to the knife", "mug"),
        ("handle of the mug on the table", "on the table", "mug handle"),
        ("mug handle on the table", "on the table", "mug handle"),
        ("knife from the drawer", "from the drawer", "knife"),
        ("mug to the left of the knife", "to the left of the knife", "mug"),
        ("mug in front of the knife handle", "in front of the knife handle", "mug"),
        ("mug with a handle", "with a handle", "mug"),
        ("mug that is blue", "that is blue", "mug"),
        ("pick up the mug next to the knife", "next to the knife", "mug handle"),
        ("mug on the left", "on the left", "mug"),
        ("mug, the red one", "the red one", "mug"),
        ("mug that's red", "that is red", "mug"),
        ("open the top drawer", "top", "drawer handle"),
        ("pour from the mug on the left", "on the left", "mug rim"),
        ("cup of coffee", "of coffee", "cup"),
        ("red mug", "red", "mug"),
        ("left mug", "left", "mug"),
        ("second mug", "second", "mug"),
        ("the 2nd mug", "2nd", "mug"),
        ("2 mugs", "2", "mug"),
        ("mug 2", "2", "mug"),
        ("big mug", "big", "mug"),
        ("big red mug", "big red", "mug"),
        ("mug red", "red", "mug"),
        ("wooden spoon", "wooden", "spoon"),
        ("the left handle of the mug", "left", "mug handle"),
        ("red handle", "red", "handle"),
        ("left mug handle", "left", "mug handle"),
        ("two knife handles", "two", "knife handle"),
        ("handleless mug", "handleless", "mug"),
        ("turquoise mug", "turquoise", "mug"),
        ("dozen knives", "dozen", "knife"),
        ("hide the knife", "hide the", "knife"),
        ("top drawer", "top", "drawer"),
        ("upside down mug", "upside down", "mug"),
        ("glass bottle", "glass", "bottle"),
        ("glass bowl", "glass", "bowl"),
        ("cut glass bowl", "cut glass", "bowl"),
        ("cut the red bowl", "red", "bowl"),
        ("pour over kettle", "pour over", "kettle"),
        ("blade is dangerous", "is dangerous", "blade"),
        ("the knife that cuts", "that cuts", "knife"),
        ("second knife from the left", "second ... from the left", "knife"),
        ("mug handle from the left", "from the left", "mug handle"),
    ],
)
def test_words_that_a_vocabulary_cannot_use_are_named_with_what_can_be_asked(
    tiny: PartSegmenter, text: str, unused: str, instead: str
) -> None:
    said = refusal(tiny, text)
    assert f"cannot use {unused!r}" in said and f"ask {instead!r}" in said
    assert "clipseg-rd64-refined" in said
    assert read(tiny, instead)


@pytest.mark.parametrize(
    "word",
    [
        *(
            "lowest",
            "highest",
            "uppermost",
            "bottommost",
            "rearmost",
            "outer",
            "inner",
            "closer",
            "farther",
        ),
        *(
            "final",
            "remaining",
            "spare",
            "twelfth",
            "thirtieth",
            "next",
            "cleanest",
            "smoother",
            "drier",
        ),
        *(
            "used",
            "rusty",
            "painted",
            "upright",
            "olive",
            "cream",
            "reddish",
            "bluish",
            "oak",
            "titanium",
        ),
    ],
)
def test_a_word_that_says_which_one_is_never_left_out(tiny: PartSegmenter, word: str) -> None:
    for name in ("mug", "drawer handle"):
        said = refusal(tiny, f"{word} {name}")
        assert f"cannot use {word!r}" in said and f"ask {name!r}" in said


def test_nouns_that_look_like_comparatives_say_a_kind(tiny: PartSegmenter) -> None:
    for text, kind in (("chest drawer", "chest"), ("cleaner bottle", "cleaner")):
        assert read(tiny, text).ignored == (kind,)
    assert read(tiny, "dinner fork").read_as == ReadAs("fork")
    assert read(tiny, "cream pitcher").read_as == ReadAs("jug")


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("pasta pot", "pot", "pasta"),
        ("needle-nose pliers", "pliers", "needle nose"),
        ("non-stick pan", "pan", "non stick"),
        ("hands-free soap dispenser", "soap dispenser", "hands free"),
        ("the handle of the pasta pot", "pot", "pasta"),
    ],
)
def test_a_kind_of_a_known_thing_is_that_thing_and_the_answer_says_so(
    tiny: PartSegmenter, text: str, name: str, kind: str
) -> None:
    query = read(tiny, text)
    assert query.read_as is not None and query.read_as.object == name
    assert query.ignored == (kind,)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("handle mug", "mug handle"),
        ("lid (pot)", "pot lid"),
        ("handle: mug", "mug handle"),
        ("handle door", "door handle"),
    ],
)
def test_a_part_before_its_object_is_no_kind_of_it(
    tiny: PartSegmenter, text: str, instead: str
) -> None:
    assert f"ask {instead!r}" in refusal(tiny, text)


@pytest.mark.parametrize(
    "text",
    ["on the table", "mug neben dem knife", "mango del cuchillo", "john's mug", "knife handle 🔪"],
)
def test_other_words_are_refused_too(tiny: PartSegmenter, text: str) -> None:
    assert refusal(tiny, text)


@pytest.mark.parametrize("text", ["knife and fork", "mug/knife", "mug or knife", "knife & mug"])
def test_two_things_in_one_phrase_are_to_be_separated(tiny: PartSegmenter, text: str) -> None:
    assert "separate them by a comma" in refusal(tiny, text)


@pytest.mark.parametrize(
    ("text", "separated"),
    [
        ("knife and fork", "knife, fork"),
        ("handle and blade", "handle, blade"),
        ("handle and blade of the knife", "knife handle, knife blade"),
        ("knife handle and blade", "knife handle, knife blade"),
        ("knife and fork handles", "knife handle, fork handle"),
        ("handles of the knife and fork", "knife handle, fork handle"),
        ("pick up the knife and the fork", "knife handle, fork handle"),
        ("knife handle and mug rim", "knife handle, mug rim"),
        ("red mug and knife", ""),
        ("mug and zorgle handle", ""),
        ("knife, spoon and zorgle", ""),
    ],
)
def test_separated_queries_mean_what_the_joined_ones_do(
    tiny: PartSegmenter, text: str, separated: str
) -> None:
    said = refusal(tiny, text) if "," not in text else tiny.encode_queries([text]).refused[0].reason
    assert said.endswith(f"separate them by a comma: {separated!r}" if separated else "by a comma")
    for phrase in filter(None, separated.split(", ")):
        assert read(tiny, phrase)


def test_a_list_may_end_in_and() -> None:
    assert [q.object for q in parse_queries("knife, mug, and fork")] == ["knife", "mug", "fork"]


def test_a_comma_does_not_cut_off_what_limits_the_phrase_before() -> None:
    assert split_phrases("mug, next to the knife; pan, lid") == [
        *("mug, next to the knife", "pan", "lid")
    ]
    for text in ("mugs, except the left one", "mug, red", "mug, the red one", "mug, the 2nd"):
        assert split_phrases(text) == [text]
    assert split_phrases("table, top, glass") == ["table", "top", "glass"]


@pytest.mark.parametrize(
    ("text", "read_as", "ignored"),
    [
        ("cup", ("mug", ""), ()),
        ("hilt of the coffee cup", ("mug", "handle"), ()),
        ("cutlery", ("fork, knife, spoon", ""), ()),
        ("knife-handle", ("knife", "handle"), ()),
        ("knife_handle", ("knife", "handle"), ()),
        ("knife—handle", ("knife", "handle"), ()),
        ("cut with the knife", ("knife", "blade"), ()),
        ("pick up the knife", ("knife", "handle"), ()),
        ("take the lid off the pot", ("pot", "lid"), ()),
        ("lid on the pot", ("pot", "lid"), ()),
        ("handle from the mug", ("mug", "handle"), ()),
        ("door of the oven", ("oven", "door"), ()),
        ("cabinet door", ("cabinet", "door"), ()),
        ("fridge door handle", ("fridge", "handle"), ("door",)),
        ("knob on the kitchen cabinet door", ("cabinet", "knob"), ("kitchen", "door")),
        ("garage door handle", ("door", "handle"), ("garage",)),
        ("shower door handle", ("door", "handle"), ("shower",)),
        ("closet door", ("door", ""), ("closet",)),
        ("noodle bowl", ("bowl", ""), ("noodle",)),
        ("handle of the pair of pliers", ("pliers", "handle"), ()),
        ("every handle", ("", "handle"), ()),
        ("all of the handles", ("", "handle"), ()),
        ("both handles", ("", "handle"), ("both",)),
        ("only the knife", ("knife", ""), ("only",)),
        ("gently pick up the knife", ("knife", "handle"), ("gently",)),
        ("my mug's handle", ("mug", "handle"), ("my",)),
        ("please find the mug for me", ("mug", ""), ("please", "find", "for me")),
        ("where is the handle of my mug?", ("mug", "handle"), ("where is", "my")),
        ("a close-up of a knife handle", ("knife", "handle"), ("a close up of",)),
    ],
)
def test_an_answer_says_how_it_was_read(
    tiny: PartSegmenter, text: str, read_as: tuple[str, str], ignored: tuple[str, ...]
) -> None:
    query = read(tiny, text)
    assert query.read_as == ReadAs(*read_as)
    assert query.ignored == ignored and query.corrected == () and query.text == text


@pytest.mark.parametrize(
    ("text", "read_as", "corrected"),
    [
        ("mug handel", ("mug", "handle"), ("handel",)),
        ("mug hanlde", ("mug", "handle"), ("hanlde",)),
        ("hanlde", ("", "handle"), ("hanlde",)),
        ("handl of the mug", ("mug", "handle"), ("handl",)),
        ("Spatual", ("spatula", ""), ("Spatual",)),
        ("knief", ("knife", ""), ("knief",)),
        ("scisors", ("scissors", ""), ("scisors",)),
        ("knive handle", ("knife", "handle"), ("knive",)),
        ("skrewdriver handel", ("screwdriver", "handle"), ("skrewdriver", "handel")),
        ("coffe mug", ("mug", ""), ("coffe",)),
        ("bottel cap", ("bottle", "cap"), ("bottel",)),
        ("cabnet door", ("cabinet", "door"), ("cabnet",)),
        ("kitchen cabnet door", ("cabinet", "door"), ("cabnet",)),
        ("cabnet door handle", ("cabinet", "handle"), ("cabnet",)),
    ],
)
def test_misspelt_words_are_corrected_and_reported(
    tiny: PartSegmenter, text: str, read_as: tuple[str, str], corrected: tuple[str, ...]
) -> None:
    query = read(tiny, text)
    assert (query.read_as, query.corrected) == (ReadAs(*read_as), corrected)


@pytest.mark.parametrize("text", ["towel", "whisky", "bowel", "market", "muf", "handled", "bladed"])
def test_a_real_or_a_short_word_is_not_taken_for_a_misspelling(
    tiny: PartSegmenter, text: str
) -> None:
    assert refusal(tiny, text)


@pytest.mark.parametrize("family", ["clipseg", "partclipseg"])
def test_a_model_for_any_words_uses_all_of_them(family: str) -> None:
    encoder = toy(family).query_encoder
    for text, names in (
        ("red mug", ("red mug", "")),
        ("second mug handle", ("second mug", "handle")),
        ("mug next to the knife handle", ("mug next to the knife handle", "")),
        ("handle of the mug on the table", ("mug on the table", "handle")),
        ("wooden spoon", ("wooden spoon", "")),
        ("salt and pepper shaker", ("salt and pepper shaker", "")),
        ("mug hanlde", ("mug hanlde", "")),
    ):
        (query,) = encoder.encode([parse_query(text)]).queries
        assert query.read_as == ReadAs(*names) and query.ignored == ()


@pytest.mark.parametrize("family", ["clipseg", "partclipseg"])
def test_a_text_beyond_the_models_context_is_refused(family: str) -> None:
    encoder = toy(family).query_encoder
    fits = PartQuery("fits", object=" ".join(["mug"] * 75))
    too_long = PartQuery("too long", object=" ".join(["mug"] * 76))
    many_tokens = parse_query("刀柄" * 50)  # few characters, many tokens
    encoded = encoder.encode([fits, too_long, many_tokens])
    assert encoded.queries == (fits,)
    assert [refused.text for refused in encoded.refused] == ["too long", "刀柄" * 50]
    assert "77 tokens" in encoded.refused[0].reason
    with pytest.raises(QueryError, match="77 tokens"):
        encoder.encode([too_long])


def test_how_a_query_was_read_does_not_make_it_another_query() -> None:
    query = PartQuery("cup", object="cup")
    read_query = PartQuery("cup", object="cup", read_as=ReadAs("mug"), ignored=("the",))
    assert query == read_query and len({query, read_query}) == 1
