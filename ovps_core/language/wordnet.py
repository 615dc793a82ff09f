"""Nouns of WordNet: what each is a kind of, and how it is described."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WordNet:
    """Household artefacts in WordNet, as ``training/compact/word_vectors.py`` writes them.

    Attributes:
        words: every single word of these names.
        rows: word -> row of its meaning.
        kinds: row -> row of its hypernym, if that has a row.
        vectors: unit vectors float32 [rows, D] of their descriptions.
    """

    words: frozenset[str]
    rows: Mapping[str, int]
    kinds: Mapping[int, int]
    vectors: NDArray[np.float32]


@functools.cache
def wordnet() -> WordNet:
    """Load the packaged nouns; a name with a hyphen is found without it too."""
    with (resources.files("ovps_core.language") / "resources" / "word_vectors.npz").open(
        "rb"
    ) as file:
        table = np.load(file)
        words = table["words"].tobytes().decode().split("\n")
        rows = dict(zip(words, table["rows"].tolist(), strict=True))
        rows |= {word.replace("-", " "): row for word, row in rows.items() if "-" in word}
        vectors = table["vectors"].astype(np.float32)
        kinds = {
            row: kind for row, kind in enumerate(table["kinds"].tolist()) if kind < len(vectors)
        }
    single = frozenset(word for name in rows for word in name.split())
    return WordNet(single, rows, kinds, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
