"""The words that are known: parts, objects, other names for them, and what people do with them."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ovps_core.errors import QueryError
from ovps_core.language.vocabulary import load_vocabulary, vocabulary_names

_INVARIANT = {
    "scissors",
    "pliers",
    "bristles",
    "tines",
    "jaws",
    "shears",
    "glasses",
    "hairs",
    "keys",
}


@dataclass(frozen=True)
class Affordance:
    """What a verb asks for: ``part``, or another one for the objects in ``of``."""

    part: str
    of: Mapping[str, str]

    def part_of(self, object: str) -> str:
        """The part of ``object`` (known by any of its names) that the verb asks for."""
        return self.of.get(lexicon().objects.get(object, object), self.part)


@dataclass(frozen=True)
class Lexicon:
    """Known words, lower case and singular; every name maps to the name it stands for.

    Attributes:
        parts, objects: name or synonym -> name.
        affordances: verb phrase -> what it asks for.
        groups: word for several objects -> their names.
        instead: name -> the name that stands for it in a model that does not know it.
        others: things that are none of the objects, though they are called or look like one.
    """

    parts: Mapping[str, str]
    objects: Mapping[str, str]
    affordances: Mapping[str, Affordance]
    groups: Mapping[str, tuple[str, ...]]
    instead: Mapping[str, str]
    others: frozenset[str]


@functools.cache
def lexicon() -> Lexicon:
    """The packaged words, the benchmarks' class lists, and the user's affordances.

    Raises:
        QueryError: the user's table of affordances cannot be read; names the file.
    """
    words = _packaged("lexicon.yaml")
    parts, objects = _flat(words["parts"]), _flat(words["objects"])
    for vocabulary in map(load_vocabulary, vocabulary_names()):
        for name in vocabulary.objects:
            objects.setdefault(name.lower(), name.lower())
        for name in vocabulary.parts:
            parts.setdefault(name.lower(), name.lower())
    table = _packaged("affordances.yaml") | _users_affordances()
    affordances = {}
    for row in table.values():
        for verb in row["verbs"]:
            affordances[verb] = Affordance(row["part"], row.get("of", {}))
    groups = {name: tuple(members) for name, members in words["groups"].items()}
    instead = words["instead"]["parts"] | words["instead"]["objects"]
    return Lexicon(parts, objects, affordances, groups, instead, frozenset(words["others"]))


def singular(phrase: str) -> str:
    """The last word of ``phrase`` in the singular; phrases that are known stay as they are."""
    known = lexicon()
    if phrase in known.parts or phrase in known.objects:
        return phrase
    head, _, word = phrase.rpartition(" ")
    if word in _INVARIANT or len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return phrase
    candidates = [
        re.sub(pattern, ending, word) for pattern, ending in _PLURALS if re.search(pattern, word)
    ]
    prefix = f"{head} " if head else ""
    for candidate in candidates:
        if prefix + candidate in known.parts or prefix + candidate in known.objects:
            return prefix + candidate
        if candidate in known.parts or candidate in known.objects:
            return prefix + candidate
    return prefix + candidates[-1]


# Most special first; the last that fits is taken for unknown words.
_PLURALS = (
    (r"ves$", "fe"),
    (r"ves$", "f"),
    (r"ies$", "y"),
    (r"(?<=[sxz])es$|(?<=ch)es$|(?<=sh)es$", ""),
    (r"s$", ""),
)


def _flat(names: Mapping[str, list[str]]) -> dict[str, str]:
    return {word: name for name, others in names.items() for word in [name, *others]}


def _packaged(file: str) -> dict[str, Any]:
    text = (resources.files("ovps_core.language") / "resources" / file).read_text("utf-8")
    # The loader in C is ten times as fast, and a command needs the tables at its start.
    words: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return words


def _users_affordances() -> dict[str, Any]:
    named = os.environ.get("OVPS_AFFORDANCES")
    path = Path(named) if named else Path.home() / ".config" / "ovps" / "affordances.yaml"
    if not named and not path.is_file():
        return {}
    form = "expected lines like `cut: {verbs: [cut with], part: blade, of: {fork: tines}}`"
    try:
        table = yaml.safe_load(path.read_text("utf-8")) or {}
        for row in table.values():
            if not row["verbs"] or not isinstance(row["part"], str):
                raise ValueError("`verbs` or `part` is empty")
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise QueryError(f"cannot read the affordances in {path}: {error}; {form}") from error
    return table
