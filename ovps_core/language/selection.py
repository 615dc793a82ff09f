"""Words that choose among objects ("left", "nearest", "each"), and queries for all parts of an object."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ovps_core.errors import QueryError
from ovps_core.language.lexicon import lexicon, read_words
from ovps_core.language.parser import read_names
from ovps_core.language.qualifiers import split_position
from ovps_core.language.vocabulary import load_vocabulary, vocabulary_names
from ovps_core.structures.query import BY_DEPTH, PartQuery, RefusedQuery

_EACH = re.compile(r"\b(each|every)\b(?! (part|piece)\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Selectors:
    """The selections that a segmenter can make.

    Attributes:
        objects: there are object instances to choose among.
        depth: there is depth, for "nearest" and "farthest".
    """

    objects: bool = False
    depth: bool = False


def read_selection(query: PartQuery, known: Selectors) -> PartQuery:
    """Move words that choose among objects from the names of a query to ``which``.

    Without objects a phrase is left as it is; the model then refuses or reads the words itself.

        >>> read_selection(PartQuery("left mug handle", "left mug", "handle"), Selectors(objects=True)).which
        'left'

    Raises:
        QueryError: what the query chooses by is not to be had.
    """
    if not known.objects:
        if query.which:
            raise QueryError(
                f"{query.text!r}: {query.which!r} chooses among objects, and there is no object model; switch one "
                "on (objects=, --objects, parameter object_model), or leave `which` empty"
            )
        return query
    if not query.which:
        query = _read_words(query)
    if query.which in BY_DEPTH and not known.depth:
        raise QueryError(
            f"{query.text!r}: {query.which!r} needs depth, and there is none; choose by place, such as 'left' or "
            "'bottom'; where there is depth, switch it on (depth=, parameter use_depth, `ovps bag annotate "
            "--depth`)"
        )
    return query


def _read_words(query: PartQuery) -> PartQuery:
    if query.object in lexicon().objects:
        return replace(query, which="each", given=query) if _EACH.search(query.text) else query
    which, rest = split_position(query.object)
    if not which or not (rest or query.part):
        return query
    object_name, part_name = rest, query.part
    if rest and not part_name:  # the words of "mug handle on the left" were one name
        object_name, part_name = read_names(rest)
    again, _ = split_position(object_name)
    if again:
        raise QueryError(f"{query.text!r}: {which!r} and {again!r} choose twice; give one of them")
    return replace(query, object=object_name, part=part_name, which=which, given=query)


def asks_for_all_parts(query: PartQuery) -> bool:
    """Return True for "all parts of the mug", "the mug's parts" and "mug parts"."""
    return query.part == "part" or (not query.part and query.object.endswith((" part", " parts")))


def expand_all_parts(
    query: PartQuery, object_parts: Sequence[tuple[str, str]] | None, names: Sequence[str] = ()
) -> tuple[PartQuery, ...]:
    """One query per part of the object that :func:`asks_for_all_parts` is about, all with the text of ``query``.

    Args:
        query: the query for all parts.
        object_parts: (object, part) classes that the model knows; None for a model that takes any words, whose
            objects are looked up in the benchmarks' vocabularies, then among the household objects.
        names: the model's names for the object, if it has another vocabulary than the phrase.

    Raises:
        QueryError: no object is named, or its parts are not known.
    """
    object_name = query.object
    if not query.part:
        object_name = object_name.rpartition(" ")[0]
    if not object_name:
        raise QueryError(f"{query.text!r} names no object; expected such as 'all parts of the mug'")
    if object_parts is None:
        object_parts = _packaged_parts()
    meant = set(names) or {object_name, lexicon().objects.get(object_name, object_name)}
    parts = dict.fromkeys(part for name, part in object_parts if name in meant)
    if not parts:
        raise QueryError(
            f"{query.text!r}: which parts a {object_name!r} has is not known; name them, such as "
            f"'{object_name} handle'"
        )
    return tuple(
        replace(query, object=object_name, part=part, given=query.given or query, all_parts=True)
        for part in parts
    )


def object_of_all_parts(query: PartQuery) -> PartQuery:
    """The query for the whole object whose parts are asked for."""
    name = query.object if query.part else query.object.rpartition(" ")[0]
    return PartQuery(query.text, object=name or query.object)


@functools.cache
def _packaged_parts() -> tuple[tuple[str, str], ...]:
    """(object, part) of the benchmarks, and of the household objects that are in none of them."""
    known = lexicon()
    benchmarks = [
        (known.objects.get(name.lower(), name.lower()), part.lower())
        for vocabulary in map(load_vocabulary, vocabulary_names())
        for name, part in vocabulary.object_parts
    ]
    there = {name for name, _ in benchmarks}
    household = [
        (known.objects.get(name, name), part)
        for name, parts in read_words("household_parts.yaml").items()
        for part in parts
    ]
    return (*benchmarks, *(pair for pair in household if pair[0] not in there))


def refuse(query: PartQuery, error: QueryError) -> RefusedQuery:
    """The refusal of a query for the reason of an error."""
    return RefusedQuery(query.text, str(error))
