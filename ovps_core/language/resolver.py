"""Resolver of names: maps any name to names that a model knows, by the lexicon and by WordNet."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from ovps_core.errors import QueryError
from ovps_core.language.lexicon import lexicon, singular
from ovps_core.language.qualifiers import is_attribute, is_attribute_of_a_name
from ovps_core.language.wordnet import wordnet

Kind = Literal["object", "part"]
ClassWeights = tuple[tuple[str, float], ...]
"""Known words, each with its weight; weights sum to 1."""
# Found on tests/data/development_words.yaml, checked on tests/data/held_out_synonyms.yaml.
MIN_SIMILARITY = 0.7
MIN_MARGIN = 0.05
MIN_HINT_SIMILARITY = 0.4  # of words that the message of a refusal suggests
MIN_HINT_RATIO = 0.78  # of their spelling
MAX_HINTS = 5  # words that the message of a refusal suggests
MAX_HYPERNYM_STEPS = 3  # a "stein" is a "beer mug", which is a "mug"


def resolve(word: str, known: Sequence[str], kind: Kind) -> ClassWeights:
    """Find the known words that ``word`` means, each with its weight; weights sum to 1.

        >>> resolve("hilt", ["handle", "blade"], "part")
        (('handle', 1.0),)
        >>> resolve("cutlery", ["fork", "knife", "mug"], "object")
        (('fork', 0.5), ('knife', 0.5))

    The name is looked up as a known one, as a synonym or group in the lexicon, and in WordNet as a kind of a known
    name or as one with a similar description. No word of it is left out: a "red mug" is not resolved, since a
    model that knows mugs may not know red ones. A name with another meaning in the lexicon is never resolved to a
    known one.

    Args:
        known: the model's names of that kind, lower case and singular.
        kind: objects and parts are never mixed: the bowl of a spoon is not a bowl.

    Raises:
        QueryError: no known word is meant; the message names the nearest.
    """
    phrase = _plain(word)
    meant = _in_lexicon(phrase, known, kind)
    if meant is None:
        meant = _in_wordnet(phrase, known, kind)
    if not meant:
        raise QueryError(
            f"no known {kind} is meant by {word!r}{hint(nearest_names(word, known, kind))}"
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
        if is_attribute(object_name) and part_name in objects:
            continue  # a "glass bowl" is made of glass
        if _in_lexicon(object_name, objects, "object") and _in_lexicon(part_name, parts, "part"):
            return object_name, part_name
    return None


def _plain(word: str) -> str:
    """A name in lower case and in the singular, without hyphens."""
    return singular(re.sub(r"[\s_-]+", " ", word.lower()).strip())


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
    nouns = wordnet()
    qualifier, _, name = phrase.partition(" ")
    if phrase not in nouns.rows or (name and is_attribute_of_a_name(qualifier)):
        return None  # a "wooden spoon" is a spoon, but the model may not know wooden ones
    rivals = _rivals(known, kind)
    labels = {nouns.rows[word]: label for word, label in reversed(rivals.items())}
    row = nouns.rows[phrase]
    for _ in range(MAX_HYPERNYM_STEPS + 1):
        if row in labels:
            return [labels[row]] if labels[row] in known else []
        row = nouns.kinds.get(row, row)
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
    return {word: label for word, label in rivals.items() if word in wordnet().rows}


def _ranking(phrase: str, known: Sequence[str], kind: Kind) -> list[tuple[float, str]]:
    """(cosine, name) of all rivals, best first; a name counts with its nearest synonym."""
    nouns = wordnet()
    if phrase not in nouns.rows:
        return []
    cosines = nouns.vectors @ nouns.vectors[nouns.rows[phrase]]
    best: dict[str, float] = {}
    for word, label in _rivals(known, kind).items():
        best[label] = max(best.get(label, -1.0), float(cosines[nouns.rows[word]]))
    return sorted(((cosine, name) for name, cosine in best.items()), reverse=True)


def nearest_names(word: str, known: Sequence[str], kind: Kind) -> list[str]:
    """Known words that are spelt or described like ``word``, nearest first."""
    words = singular(word).split()
    tails = [" ".join(words[start:]) for start in range(len(words))]
    near = difflib.get_close_matches(tails[-1], known, n=1, cutoff=MIN_HINT_RATIO)
    for tail in tails:
        near += [
            name for cosine, name in _ranking(tail, known, kind) if cosine >= MIN_HINT_SIMILARITY
        ]
    return [name for name in dict.fromkeys(near) if name in known]


def hint(near: Sequence[str]) -> str:
    """End of a sentence that suggests names; empty without names."""
    return f"; near it {'is' if len(near) == 1 else 'are'} {listed(near)}" if near else ""


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MAX_HINTS
    return ", ".join(names[:MAX_HINTS]) + (f" and {more} more" if more > 0 else "")
