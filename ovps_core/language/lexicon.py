"""Lexicon: names of parts and objects, their synonyms, and the parts that verbs refer to."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from ovps_core.errors import ConfigError
from ovps_core.language.vocabulary import load_vocabulary, vocabulary_names
from ovps_core.language.wordnet import wordnet
from ovps_core.structures.cache_folder import expand_home, home_folder

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
    "this",
}


@dataclass(frozen=True)
class Affordance:
    """The part that a verb refers to ("cut with": blade).

    Attributes:
        part: part name.
        parts_by_object: object name -> part name, for objects where it is another part.
    """

    part: str
    parts_by_object: Mapping[str, str]

    def part_of(self, object_name: str) -> str:
        """The part of an object; ``object_name`` is a name of the lexicon, not a synonym."""
        return self.parts_by_object.get(object_name, self.part)


@dataclass(frozen=True)
class Lexicon:
    """Known words, lower case and singular; every synonym maps to a name.

    Attributes:
        parts, objects: name or synonym -> name.
        other_parts: name or synonym of a part -> the parts that it means for objects without that one.
        affordances: verb phrase -> the part that it refers to.
        groups: word for several objects -> their names.
        fallbacks: name -> the name to use in a model that does not know it.
        not_objects: things that are not objects of the lexicon, although their names or shapes suggest one.
        compounds: nouns of WordNet that name a part of an object in one word.
    """

    parts: Mapping[str, str]
    objects: Mapping[str, str]
    other_parts: Mapping[str, tuple[str, ...]]
    affordances: Mapping[str, Affordance]
    groups: Mapping[str, tuple[str, ...]]
    fallbacks: Mapping[str, str]
    not_objects: frozenset[str]
    compounds: frozenset[str]


@functools.cache
def lexicon() -> Lexicon:
    """Load the packaged words, the benchmarks' class lists, and the user's affordances.

    Raises:
        ConfigError: the user's table of affordances cannot be read; the message names the file.
    """
    words = read_words("lexicon.yaml")
    parts, objects = _flat(words["parts"]), _flat(words["objects"])
    for vocabulary in map(load_vocabulary, vocabulary_names()):
        for name in vocabulary.objects:
            objects.setdefault(name.lower(), name.lower())
        for name in vocabulary.parts:
            parts.setdefault(name.lower(), name.lower())
    table = read_words("affordances.yaml") | _users_affordances()
    affordances = {}
    for row in table.values():
        for verb in row["verbs"]:
            affordances[verb] = Affordance(row["part"], row.get("of", {}))
    other_parts = {word: tuple(names) for word, names in words["other_parts"].items()}
    groups = {name: tuple(members) for name, members in words["groups"].items()}
    fallbacks = words["fallbacks"]["parts"] | words["fallbacks"]["objects"]
    not_objects = frozenset(words["not_objects"])
    compounds = frozenset(words["compounds"])
    return Lexicon(
        parts, objects, other_parts, affordances, groups, fallbacks, not_objects, compounds
    )


def singular(phrase: str) -> str:
    """Put the last word of ``phrase`` into the singular; known phrases are returned unchanged, as are "tongs"."""
    known = lexicon()
    if phrase in known.parts or phrase in known.objects or phrase in known.not_objects:
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
    is_noun = word in wordnet().rows or word.endswith(("us", "is"))
    if is_noun and candidates[-1] not in wordnet().rows:
        return phrase  # "tongs" and "cactus", but not "bars" and "skis"
    return prefix + candidates[-1]


# Most specific first; for unknown words the last match is used.
_PLURALS = (
    (r"ves$", "fe"),
    (r"ves$", "f"),
    (r"ies$", "y"),
    (r"(?<=[sxz])es$|(?<=ch)es$|(?<=sh)es$", ""),
    (r"s$", ""),
)


def _flat(names: Mapping[str, list[str]]) -> dict[str, str]:
    return {word: name for name, synonyms in names.items() for word in [name, *synonyms]}


def read_words(file: str) -> dict[str, Any]:
    """Read a packaged table of words, such as "lexicon.yaml"."""
    text = (resources.files("ovps_core.language") / "resources" / file).read_text("utf-8")
    # The C loader is ten times faster, and every command reads these tables when it starts.
    content: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return content


def _users_affordances() -> dict[str, Any]:
    configured = os.environ.get("OVPS_AFFORDANCES")
    home = home_folder()
    default = home / ".config" / "ovps" / "affordances.yaml" if home else None
    path = expand_home(configured) if configured else default
    if path is None or (not configured and not os.path.isfile(path)):
        return {}
    form = "expected lines like `cut: {verbs: [cut with], part: blade, of: {fork: tines}}`"
    try:
        table: dict[str, Any] = yaml.safe_load(path.read_text("utf-8")) or {}
        for row in table.values():
            if not row["verbs"] or not isinstance(row["part"], str):
                raise ValueError("`verbs` or `part` is empty")
    except (
        OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, RecursionError,
    ) as error:  # fmt: skip
        raise ConfigError(f"cannot read the affordances in {path}: {error}; {form}") from error
    return table
