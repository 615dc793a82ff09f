"""Resolver of words: maps any word to words that a model knows, by the lexicon and by WordNet."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import QueryError
from ovps_core.language.lexicon import lexicon, singular
from ovps_core.structures.query import PartQuery, RefusedQuery

Kind = Literal["object", "part"]
ClassWeights = tuple[tuple[str, float], ...]
"""Known words, each with its weight; weights sum to 1."""
# Found on tests/data/development_words.yaml, checked on tests/data/held_out_synonyms.yaml.
MIN_SIMILARITY = 0.7
MIN_MARGIN = 0.05
MIN_SPELLING_RATIO = 0.88
MIN_HINT_SIMILARITY = 0.4  # of words that the message of a refusal suggests
MAX_HINTS = 5  # words that the message of a refusal suggests
MAX_HYPERNYM_STEPS = 3  # a "stein" is a "beer mug", which is a "mug"


def resolve(word: str, known: Sequence[str], kind: Kind) -> ClassWeights:
    """Find the known words that ``word`` means, each with its weight; weights sum to 1.

        >>> resolve("hilt", ["handle", "blade"], "part")
        (('handle', 1.0),)
        >>> resolve("cutlery", ["fork", "knife", "mug"], "object")
        (('fork', 0.5), ('knife', 0.5))

    The whole phrase is tried first, then the phrase without its first words ("big red mug"). Each is looked up as
    a known word, as a synonym or group in the lexicon, and in WordNet as a kind of a known word or as one with a
    similar description. Last, a misspelling is corrected. A word with another meaning in the lexicon is
    never resolved to a known one.

    Args:
        known: the model's names of that kind, lower case and singular.
        kind: objects and parts are never mixed: the bowl of a spoon is not a bowl.

    Raises:
        QueryError: no known word is meant; the message names the nearest.
    """
    phrase = singular(re.sub(r"[\s_-]+", " ", word.lower()).strip())
    words = phrase.split()
    tails = [" ".join(words[start:]) for start in range(len(words))] or [""]
    meant: list[str] | None = None
    for tail in tails:
        meant = _in_lexicon(tail, known, kind)
        if meant is None:
            meant = _in_wordnet(tail, known, kind)
        if meant is not None:
            break
    if meant is None:
        meant = _correct_spelling(phrase, known, kind)
    if not meant:
        raise QueryError(
            f"no known {kind} is meant by {word!r}{_hint(_nearest(word, known, kind))}"
        )
    return tuple((name, 1 / len(meant)) for name in meant)


def split_object_part(
    phrase: str, objects: Sequence[str], parts: Sequence[str]
) -> tuple[str, str] | None:
    """(object, part) if ``phrase`` is a known object followed by a known part, else None.

    Use it for phrases that were read as one unknown thing: "door frame" is one part in some vocabularies, and the
    frame of a door in others. Only the lexicon is used: a pot holder is not the handle of a pot.
    """
    words = singular(phrase).split()
    for cut in range(len(words) - 1, 0, -1):
        object_name, part_name = " ".join(words[:cut]), " ".join(words[cut:])
        if _in_lexicon(object_name, objects, "object") and _in_lexicon(part_name, parts, "part"):
            return object_name, part_name
    return None


def explain_refusal(
    query: PartQuery,
    objects: Sequence[str],
    parts: Sequence[str],
    object_parts: Sequence[tuple[str, str]],
) -> RefusedQuery:
    """Explain why a model cannot answer ``query``: the word that it does not know, and known words near it.

    Args:
        objects, parts, object_parts: the model's vocabulary; ``object_parts`` as (object, part).
    """
    object_name, part_name = query.object, query.part
    if object_name and not part_name:
        object_name, part_name = _object_and_rest(object_name, objects)
    known_objects = _meant_by(object_name, objects, "object")
    known_parts = _meant_by(part_name, parts, "part")
    if object_name and not known_objects:
        nearest = _nearest(object_name, objects, "object")
        problem = f"no object {object_name!r}{_hint(nearest)}"
        owners = [name for name, part in object_parts if part in known_parts]
        if owners:
            problem += f"; it knows {known_parts[0]} of {_listed(owners)}"
    elif object_name:
        nearest = [part for name, part in object_parts if name in known_objects]
        problem = f"no {part_name!r} of {known_objects[0]}, but {_listed(nearest)}"
    else:
        nearest = _nearest(part_name, parts, "part")
        problem = f"no part {part_name!r}{_hint(nearest)}"
    reason = (
        f"{query.text!r}: this model knows {problem}. `ovps models --words` lists all; "
        "clipseg-rd64-refined takes any words."
    )
    return RefusedQuery(query.text, reason, tuple(nearest[:MAX_HINTS]))


def _object_and_rest(phrase: str, objects: Sequence[str]) -> tuple[str, str]:
    """Split a phrase after a known object: ("knife", "antenna"); (``phrase``, "") if it begins with none."""
    words = singular(phrase).split()
    if phrase in lexicon().not_objects or phrase in _wordnet().rows:
        return phrase, ""  # a "knife block" is not a knife
    for cut in range(len(words) - 1, 0, -1):
        head = " ".join(words[:cut])
        if _in_lexicon(head, objects, "object"):
            return head, " ".join(words[cut:])
    return phrase, ""


def _meant_by(word: str, known: Sequence[str], kind: Kind) -> list[str]:
    try:
        return [name for name, _ in resolve(word, known, kind)] if word else []
    except QueryError:
        return []


def _names(kind: Kind) -> Mapping[str, str]:
    return lexicon().objects if kind == "object" else lexicon().parts


def _in_lexicon(phrase: str, known: Sequence[str], kind: Kind) -> list[str] | None:
    """Known words for a phrase in the lexicon; [] if it means another thing; None if it is not in the lexicon."""
    if phrase in known:
        return [phrase]
    names, other_kind = _names(kind), _names("part" if kind == "object" else "object")
    if phrase in names:
        meant = [name for name in known if names.get(name, name) == names[phrase]]
        fallback = lexicon().fallbacks.get(names[phrase])
        return meant or (_in_lexicon(fallback, known, kind) if fallback else [])
    if kind == "object" and phrase in lexicon().groups:
        group = {names[member] for member in lexicon().groups[phrase]}
        return [name for name in known if names.get(name, name) in group]
    return [] if phrase in lexicon().not_objects or phrase in other_kind else None


def _in_wordnet(phrase: str, known: Sequence[str], kind: Kind) -> list[str] | None:
    """The known word of which ``phrase`` is a kind in WordNet, or whose description is similar.

    Returns [] for a kind of another thing. Returns None if no word fits, or if several fit about equally well.
    """
    wordnet = _wordnet()
    if phrase not in wordnet.rows:
        return None
    rivals = _rivals(known, kind)
    labels = {wordnet.rows[word]: label for word, label in reversed(rivals.items())}
    row = wordnet.rows[phrase]
    for _ in range(MAX_HYPERNYM_STEPS + 1):
        if row in labels:
            return [labels[row]] if labels[row] in known else []
        row = wordnet.kinds.get(row, row)
    (best, name), (second, _), *_ = [*_ranking(phrase, known, kind), (-1.0, "")]
    sure = best >= MIN_SIMILARITY and best - second >= MIN_MARGIN
    return [name] if sure and name in known else None


def _rivals(known: Sequence[str], kind: Kind) -> dict[str, str]:
    """Words of WordNet that a phrase may mean -> the name of each, which is a known name if there is one.

    They include words that the model does not know, so that a phrase with such a meaning is refused.
    """
    names, fallbacks = _names(kind), lexicon().fallbacks
    known_names = {names.get(name, name): name for name in known}
    rivals = {name: name for name in known} | {
        word: known_names.get(name, known_names.get(fallbacks.get(name, ""), name))
        for word, name in names.items()
        if word not in known
    }
    if kind == "object":
        rivals |= {name: name for name in lexicon().not_objects}
    return {word: label for word, label in rivals.items() if word in _wordnet().rows}


def _ranking(phrase: str, known: Sequence[str], kind: Kind) -> list[tuple[float, str]]:
    """(cosine, name) of all rivals, best first; a name counts with its nearest synonym."""
    wordnet = _wordnet()
    if phrase not in wordnet.rows:
        return []
    cosines = wordnet.vectors @ wordnet.vectors[wordnet.rows[phrase]]
    best: dict[str, float] = {}
    for word, label in _rivals(known, kind).items():
        best[label] = max(best.get(label, -1.0), float(cosines[wordnet.rows[word]]))
    return sorted(((cosine, name) for name, cosine in best.items()), reverse=True)


def _correct_spelling(phrase: str, known: Sequence[str], kind: Kind) -> list[str] | None:
    """The known word that a misspelt phrase of at least 6 letters resembles; None if there is none."""
    if phrase in _wordnet().rows or len(phrase) < 6:
        return None
    names = _names(kind)
    spelt = difflib.get_close_matches(phrase, [*known, *names], n=1, cutoff=MIN_SPELLING_RATIO)
    return _in_lexicon(spelt[0], known, kind) if spelt and spelt[0][0] == phrase[0] else None


def _nearest(word: str, known: Sequence[str], kind: Kind) -> list[str]:
    """Known words that are spelt or described like ``word``, nearest first."""
    words = singular(word).split()
    tails = [" ".join(words[start:]) for start in range(len(words))]
    near = difflib.get_close_matches(tails[-1], known, n=1, cutoff=MIN_SPELLING_RATIO - 0.1)
    for tail in tails:
        near += [
            name for cosine, name in _ranking(tail, known, kind) if cosine >= MIN_HINT_SIMILARITY
        ]
    return [name for name in dict.fromkeys(near) if name in known]


def _hint(near: Sequence[str]) -> str:
    return f"; near it {'is' if len(near) == 1 else 'are'} {_listed(near)}" if near else ""


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_HINTS
    return ", ".join(names[:MAX_HINTS]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class _WordNet:
    """Household artefacts in WordNet, as ``training/compact/word_vectors.py`` writes them.

    Attributes:
        rows: word -> row of its meaning.
        kinds: row -> row of its hypernym, if that has a row.
        vectors: unit vectors float32 [rows, D] of their descriptions.
    """

    rows: Mapping[str, int]
    kinds: Mapping[int, int]
    vectors: NDArray[np.float32]


@functools.cache
def _wordnet() -> _WordNet:
    with (resources.files("ovps_core.language") / "resources" / "word_vectors.npz").open(
        "rb"
    ) as file:
        table = np.load(file)
        words = table["words"].tobytes().decode().split("\n")
        rows = dict(zip(words, table["rows"].tolist(), strict=True))
        vectors = table["vectors"].astype(np.float32)
        kinds = {
            row: kind for row, kind in enumerate(table["kinds"].tolist()) if kind < len(vectors)
        }
    return _WordNet(rows, kinds, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
