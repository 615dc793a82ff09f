"""Any word into the words that a model knows: by the lexicon first, then by word vectors, else refused."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import QueryError
from ovps_core.lexicon import lexicon, singular

Kind = Literal["object", "part"]
LEAST_SIMILARITY = 0.6
LEAST_MARGIN = 0.05
LEAST_SPELLING = 0.88
"""Found on the words of ``tests/data/development_words.yaml``; checked on ``held_out_synonyms.yaml``."""


def resolve(word: str, known: Sequence[str], kind: Kind) -> tuple[tuple[str, float], ...]:
    """The known words that ``word`` means, each with its share of the meaning; shares sum to 1.

        >>> resolve("hilt", ["handle", "blade"], "part")
        (('handle', 1.0),)
        >>> resolve("cutlery", ["fork", "knife", "mug"], "object")
        (('fork', 0.5), ('knife', 0.5))

    Tried in this order, each for the whole phrase and then without its first words ("big red mug"): a known word;
    another name for one, or a group of them, in the lexicon; what WordNet describes alike; a misspelling. A word
    that the lexicon knows as something else is never read as a known one.

    Args:
        known: the model's names of that kind, lower case and singular.
        kind: objects and parts are never mixed: the bowl of a spoon is not a bowl.

    Raises:
        QueryError: no known word is meant; names the nearest.
    """
    phrase = singular(re.sub(r"[\s_-]+", " ", word.lower()).strip())
    words = phrase.split()
    tails = [" ".join(words[start:]) for start in range(len(words))] or [""]
    meant: list[str] | None = None
    for tail in tails:
        meant = _curated(tail, known, kind)
        if meant is None:
            meant = _described_alike(tail, known, kind)
        if meant is not None:
            break
    if meant is None:
        meant = _misspelt(phrase, known, kind)
    if not meant:
        raise QueryError(_refusal(word, tails, known, kind))
    return tuple((name, 1 / len(meant)) for name in meant)


def _names(kind: Kind) -> Mapping[str, str]:
    return lexicon().objects if kind == "object" else lexicon().parts


def _curated(phrase: str, known: Sequence[str], kind: Kind) -> list[str] | None:
    """Known words for a phrase of the lexicon; none of them where it means another thing; None if not in it."""
    if phrase in known:
        return [phrase]
    names, other = _names(kind), _names("part" if kind == "object" else "object")
    if phrase in names:
        meant = [name for name in known if names.get(name, name) == names[phrase]]
        instead = lexicon().instead.get(names[phrase])
        return meant or (_curated(instead, known, kind) if instead else [])
    if kind == "object" and phrase in lexicon().groups:
        group = {names[member] for member in lexicon().groups[phrase]}
        return [name for name in known if names.get(name, name) in group]
    return [] if phrase in lexicon().others or phrase in other else None


def _described_alike(phrase: str, known: Sequence[str], kind: Kind) -> list[str] | None:
    """The known word that WordNet describes alike; None if there is none or another word comes near too."""
    ranking = _ranking(phrase, known, kind)
    if not ranking or ranking[0][1] not in known:
        return None
    best, name = ranking[0]
    second = ranking[1][0] if len(ranking) > 1 else -1.0
    return [name] if best >= LEAST_SIMILARITY and best - second >= LEAST_MARGIN else None


def _ranking(phrase: str, known: Sequence[str], kind: Kind) -> list[tuple[float, str]]:
    """(cosine, name) of all names of that kind, best first; of a name's synonyms the nearest counts.

    Besides the words that the model knows, all others compete that it must not be taken for; [] where WordNet
    has no such artefact.
    """
    rows, vectors = _vectors()
    if phrase not in rows:
        return []
    names = _names(kind)
    standing = {names.get(name, name): name for name in known}
    candidates = {**{name: name for name in known}, **names}
    if kind == "object":
        candidates |= {name: name for name in lexicon().others}
    best: dict[str, float] = {}
    for word, name in candidates.items():
        if word in rows:
            label = standing.get(name, name)
            cosine = float(vectors[rows[word]] @ vectors[rows[phrase]])
            best[label] = max(best.get(label, -1.0), cosine)
    return sorted(((cosine, name) for name, cosine in best.items()), reverse=True)


def _misspelt(phrase: str, known: Sequence[str], kind: Kind) -> list[str] | None:
    """The known word that a long phrase which is no word at all nearly spells."""
    if phrase in _vectors()[0] or len(phrase) < 7:
        return None
    names = _names(kind)
    spelt = difflib.get_close_matches(phrase, [*known, *names], n=1, cutoff=LEAST_SPELLING)
    return _curated(spelt[0], known, kind) if spelt and spelt[0][0] == phrase[0] else None


def _refusal(word: str, tails: Sequence[str], known: Sequence[str], kind: Kind) -> str:
    rankings = [_ranking(tail, known, kind) for tail in tails]
    nearest = [name for ranking in rankings for _, name in ranking if name in known]
    nearest = nearest or difflib.get_close_matches(tails[-1], known, n=3, cutoff=0.0)
    listed = ", ".join(repr(name) for name in nearest[:3])
    return (
        f"this model knows no {kind} {word!r}; nearest are {listed}. It knows {', '.join(known)}. "
        "A model for any words is clipseg-rd64-refined."
    )


@functools.cache
def _vectors() -> tuple[Mapping[str, int], NDArray[np.float32]]:
    """(word -> row, unit vectors float32 [N, D]) of the packaged table; see ``training/word_vectors.py``."""
    with (resources.files("ovps_core") / "resources" / "word_vectors.npz").open("rb") as file:
        table = np.load(file)
        words = table["words"].tobytes().decode().split("\n")
        rows = table["rows"].tolist()
        vectors = table["vectors"].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return dict(zip(words, rows, strict=True)), vectors
