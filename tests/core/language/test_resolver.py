"""Words that no model was trained on are read sensibly or refused with the nearest known ones."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import yaml
from helpers.paths import TESTS
from helpers.toy_models import toy

from ovps_core.cli import main
from ovps_core.errors import QueryError
from ovps_core.language.lexicon import lexicon
from ovps_core.language.parser import parse_query
from ovps_core.language.refusal import split_kind
from ovps_core.language.resolver import resolve, split_object_part
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import PartQuery
from ovps_core.synthetic.catalogue import OBJECT_CLASSES, OBJECT_PARTS

OBJECTS = sorted(OBJECT_CLASSES)
PARTS = sorted({part for _, part in OBJECT_PARTS})
KNOWN = {"object": OBJECTS, "part": PARTS}
CUTLERY = ("knife", "fork", "spoon")


@pytest.mark.parametrize(
    ("word", "kind", "name"),
    [
        ("mug", "object", "mug"),
        ("Mugs", "object", "mug"),
        ("chef's knife", "object", "knife"),
        ("coffee cup", "object", "mug"),
        ("refrigerator", "object", "fridge"),
        ("coffee table", "object", "table"),
        ("felt-tip pen", "object", "marker"),
        ("bowl", "object", "bowl"),
        ("bowl", "part", "bowl"),
        ("hilt", "part", "handle"),
        ("haft", "part", "handle"),
        ("cutting edge", "part", "blade"),
        ("tines", "part", "head"),
    ],
)
def test_a_word_for_a_known_thing_is_read(word: str, kind: Any, name: str) -> None:
    assert resolve(word, KNOWN[kind], kind) == ((name, 1.0),)


def test_a_word_for_several_things_is_shared_among_those_that_are_known() -> None:
    assert dict(resolve("cutlery", ["mug", "fork", "knife"], "object")) == {
        "fork": 0.5,
        "knife": 0.5,
    }
    shares = resolve("tools", OBJECTS, "object")
    assert "hammer" in dict(shares) and sum(share for _, share in shares) == pytest.approx(1)


@pytest.mark.parametrize(
    ("word", "known", "kind"),
    [
        ("blade", ["handle", "rim"], "part"),
        ("fork", ["knife", "spoon"], "object"),
        ("rim", OBJECTS, "object"),
        ("mug", PARTS, "part"),
        ("pool table", OBJECTS, "object"),
        ("flower pot", OBJECTS, "object"),
        ("bottle opener", OBJECTS, "object"),
        ("spoon", ["bowl"], "object"),
        ("red mug", OBJECTS, "object"),
        ("wooden spoon", OBJECTS, "object"),
        ("paper bag", OBJECTS, "object"),
        ("wooden grip", PARTS, "part"),
        ("scisors", OBJECTS, "object"),
    ],
)
def test_another_thing_is_never_taken_for_a_known_one(word: str, known: Any, kind: Any) -> None:
    with pytest.raises(QueryError):
        resolve(word, known, kind)


@pytest.mark.parametrize(
    ("phrase", "read"),
    [
        ("door frame", ("door", "frame")),
        ("cupboard grip", ("cupboard", "grip")),
        ("pot holder", None),
        ("door", None),
        ("fork frame knife", None),
    ],
)
def test_what_is_no_known_thing_may_be_a_known_part_of_one(phrase: str, read: Any) -> None:
    assert (
        split_object_part(phrase, ["door", "pot", "knife", "cabinet"], ["frame", "handle"]) == read
    )


def test_a_refused_word_is_named_with_the_nearest_known_ones() -> None:
    with pytest.raises(QueryError, match=r"'corkscrew'; near it are bottle, jug$"):
        resolve("corkscrew", OBJECTS, "object")
    with pytest.raises(QueryError, match=r"'flurb'$"):
        resolve("flurb", OBJECTS, "object")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("corkscrew", "no object 'corkscrew'; near it are bottle, jug."),
        ("flurb", "no object 'flurb'."),
        ("knife antenna", "no 'antenna' of knife, but handle, blade."),
        ("handle of the car", "no object 'car'; it knows handle of knife, fork"),
        ("hinge", "no part 'hinge'; near it is frame."),
        ("bottle opener", "no object 'bottle opener'"),
    ],
)
def test_a_model_says_which_word_it_does_not_know_and_what_it_knows_instead(
    text: str, says: str
) -> None:
    with pytest.raises(QueryError) as refusal:
        PartSegmenter.from_pretrained("ovps-tiny", backend="torch").encode_queries(text)
    said = str(refusal.value)
    assert said.startswith(f"{text!r}: this model knows {says}")
    assert "`ovps models --words`" in said and "clipseg-rd64-refined" in said
    assert len(said) < 240 and "\n" not in said


def test_the_words_of_a_model_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--words"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^knife +handle, blade$", said, re.MULTILINE)
    assert all(re.search(rf"^{name} ", said, re.MULTILINE) for name in OBJECTS)
    assert main(["models", "--words", "clipseg-rd64-refined"]) == 0
    assert "takes any words" in capsys.readouterr().out


def outcomes(file: str) -> dict[str, list[str]]:
    """The words of a list by what became of them."""
    table = yaml.safe_load((TESTS / "data" / file).read_text("utf-8"))
    found: dict[str, list[str]] = {
        "right": [],
        "refused": [],
        "wrong": [],
        "kept out": [],
        "let in": [],
    }
    for kind, known in KNOWN.items():
        asked = [(word, name) for name, words in table[f"{kind}s"].items() for word in words]
        asked += [(word, "") for word in table["refused"][f"{kind}s"]]
        for word, name in asked:
            try:
                answer = resolve(split_kind(word, known, kind)[1], known, kind)  # type: ignore[arg-type]
            except QueryError:
                found["refused" if name else "kept out"].append(word)
                continue
            right = answer == ((name, 1.0),)
            found["right" if right else "wrong" if name else "let in"].append(word)
    return found


def test_held_out_words_are_in_no_table() -> None:
    table = yaml.safe_load((TESTS / "data/held_out_synonyms.yaml").read_text("utf-8"))
    lists = (*table["objects"].values(), *table["parts"].values(), *table["refused"].values())
    words = {word for words in lists for word in words}
    known = lexicon()
    assert len(words) >= 90
    for listed in (known.objects, known.parts, known.groups, known.not_objects, known.compounds):
        assert not words & set(listed)


def test_held_out_words_are_read_right_or_refused() -> None:
    found = outcomes("held_out_synonyms.yaml")
    synonyms = len(found["right"]) + len(found["refused"]) + len(found["wrong"])
    others = len(found["kept out"]) + len(found["let in"])
    assert synonyms >= 60 and others >= 30
    assert len(found["wrong"]) <= 0.1 * synonyms, found["wrong"]
    assert len(found["let in"]) <= 0.1 * others, found["let in"]
    assert len(found["right"]) >= 0.7 * synonyms, found["refused"]


def test_a_model_answers_a_word_for_several_things_with_all_of_them() -> None:
    model, query_encoder, _ = toy("compact")
    encoded = query_encoder.encode([PartQuery(name, object=name) for name in ("cutlery", *CUTLERY)])
    with torch.no_grad():
        features = model.encode(torch.rand(1, 3, 64, 96))
        maps = model.decode(features, encoded.conditions).names.sigmoid()[0]
    torch.testing.assert_close(maps[0], maps[1:].sum(dim=0), atol=1e-3, rtol=0)
    encoded = query_encoder.encode(
        [parse_query("hilt of the coffee cup"), parse_query("mug handle")]
    )
    torch.testing.assert_close(*encoded.conditions.object_parts)
