"""Query encoder for a closed vocabulary: each word becomes weights of known words, or is refused."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import QueryError
from ovps_core.language.lexicon import lexicon, singular
from ovps_core.language.parser import is_part_by_verb, read_names
from ovps_core.language.refusal import explain_refusal, split_kind
from ovps_core.language.resolver import ClassWeights, Kind, resolve, split_object_part
from ovps_core.language.spelling import as_written, correct_spelling
from ovps_core.models.interface import (
    ClosedVocabulary,
    Conditions,
    EncodedQueries,
    QueryEncoder,
    QueryRows,
    require_accepted,
)
from ovps_core.structures.query import PartQuery, ReadAs, RefusedQuery

_FRONTS = ("door", "front", "panel")
"""Parts that have handles and windows of their own: "fridge door handle" is the handle of the fridge."""
T = TypeVar("T")
ClassName = tuple[Kind, str]
"""Kind of a word, and the word."""
_ReadQuery = tuple[PartQuery, dict[ClassName, ClassWeights]]
"""A query that says how it was read, and the known words for each of its names, part first."""


class VocabularyEncoder(QueryEncoder):
    """Encodes the words that a model knows, and synonyms of them.

    A condition has one column per object, part and (object, part) class of the vocabulary, in this order.
    Conditions are NumPy arrays, so that exported graphs answer without PyTorch.

    Args:
        vocabulary: the words.
        synonyms: a known name, followed by other words for it, beside those of the lexicon.
    """

    def __init__(
        self, vocabulary: ClosedVocabulary, synonyms: Sequence[Sequence[str]] = ()
    ) -> None:
        self.vocabulary = vocabulary
        self._synonyms: dict[Kind, dict[str, str]] = {
            "object": _other_words(vocabulary.objects, synonyms),
            "part": _other_words(vocabulary.parts, synonyms),
        }
        self.condition_dim = sum(
            map(len, (vocabulary.objects, vocabulary.parts, vocabulary.object_parts))
        )

    def read(
        self, queries: Sequence[PartQuery]
    ) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
        """See :meth:`QueryEncoder.read`; queries with a word that is not known are refused."""
        accepted, refused = self._read_all(queries)
        return tuple(query for query, _ in accepted), refused

    def encode(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """See :meth:`QueryEncoder.encode`."""
        accepted, refused = self._read_all(queries)
        require_accepted(accepted, refused)
        words_of_queries = [tuple(words) for _, words in accepted]
        weights = {name: weight for _, words in accepted for name, weight in words.items()}
        rows = [self._name_condition(kind, weight) for (kind, _), weight in weights.items()]
        names = _numbered(weights)
        classes = _numbered(words for words in words_of_queries if len(words) == 2)
        indices = [[names[word] for word in words] for words in classes]
        composed = [self._class_condition(rows[part], rows[name]) for part, name in indices]
        part_index, object_index = np.array(indices, dtype=np.int64).reshape(-1, 2).T
        empty = np.zeros((0, self.condition_dim), dtype=np.float32)
        conditions = Conditions(
            names=np.stack(rows) if rows else empty,
            object_parts=np.stack(composed) if composed else empty,
            part_index=np.ascontiguousarray(part_index),
            object_index=np.ascontiguousarray(object_index),
        )
        query_rows = tuple(
            QueryRows(object_parts=(classes[words],))
            if len(words) == 2
            else QueryRows(names=(names[words[0]],))
            for words in words_of_queries
        )
        return EncodedQueries(
            tuple(query for query, _ in accepted), conditions, query_rows, refused
        )

    def _read_all(
        self, queries: Sequence[PartQuery]
    ) -> tuple[list[_ReadQuery], tuple[RefusedQuery, ...]]:
        accepted: list[_ReadQuery] = []
        refused: list[RefusedQuery] = []
        for query in queries:
            try:
                accepted.append(self._read(query))
            except QueryError:
                known = self.vocabulary
                refused.append(
                    explain_refusal(query, known.objects, known.parts, known.object_parts)
                )
        return accepted, tuple(refused)

    def _read(self, query: PartQuery) -> _ReadQuery:
        """Find the names that a query is taken for.

        Raises:
            QueryError: a name is not known.
        """
        for object_name, part_name, corrected, ignored in self._readings(query):
            try:
                words = self._resolve(object_name, part_name)
            except QueryError:
                continue
            if not (self._is_asked_for(part_name, query) or self._is_pair(words)):
                continue
            names = {
                kind: ", ".join(sorted(name for name, _ in weights))
                for (kind, _), weights in words.items()
            }
            read_as = ReadAs(names.get("object", ""), names.get("part", ""))
            written = as_written(corrected, query.text)
            ignored = (*query.ignored, *ignored)
            return replace(query, read_as=read_as, corrected=written, ignored=ignored), words
        raise QueryError(f"{query.text!r} has a name that the model does not know")

    def _readings(
        self, query: PartQuery
    ) -> Iterator[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
        """(object, part, corrected words, ignored words) that a query may stand for, the most literal first."""
        known = (*self._known("object"), *self._known("part"))
        object_name, in_object = correct_spelling(query.object, known)
        part_name, in_part = correct_spelling(query.part, known)
        corrected = (*in_object, *in_part)
        spelt: list[tuple[str, str, tuple[str, ...]]] = [(query.object, query.part, ())]
        if corrected:
            spelt.append((object_name, part_name, corrected))
            if query.object and not query.part:  # "mug hanlde" was one unknown name
                spelt.append((*read_names(object_name), corrected))
        for object_name, part_name, words in spelt:
            for name, part, ignored in self._plain_readings(object_name, part_name):
                yield name, part, words, ignored
        for object_name, part_name, words in spelt:  # a "pasta pot" is a pot, which the answer says
            of_object, name = split_kind(object_name, self._known("object"), "object")
            of_part, part = split_kind(part_name, self._known("part"), "part")
            if of_object or of_part:
                yield name, part, words, tuple(filter(None, (of_object, of_part)))

    def _plain_readings(
        self, object_name: str, part_name: str
    ) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """(object, part, ignored words) that two names may stand for, as they are spelt."""
        objects, parts = self._known("object"), self._known("part")
        if split := self._split_part(object_name, part_name):
            yield *split, ()
        yield object_name, part_name, ()
        for other in lexicon().other_parts.get(part_name, ()):
            yield object_name, other, ()
        # The parser takes the longest part of the lexicon; this model may know a longer one ("hand wheel").
        if split := _split_at_part(f"{object_name} {part_name}", objects, parts):
            yield *split, ()
        whole = "" if object_name and part_name else object_name or part_name
        if split := split_object_part(whole, objects, parts):
            yield *split, ()
        owner, _, front = object_name.rpartition(" ")
        kind, owner = split_kind(owner, objects, "object")  # "kitchen cabinet door"
        if part_name and front in _FRONTS and self._has_part(owner, front):
            yield owner, part_name, tuple(filter(None, (kind, front)))

    def _known(self, kind: Kind) -> tuple[str, ...]:
        """The model's names, and its own synonyms."""
        return (*self._class_names(kind), *self._synonyms[kind])

    def _split_part(self, object_name: str, part_name: str) -> tuple[str, str] | None:
        """(object, part) for a synonym of a part that begins with its object: "table top", "tabletop".

        ``object_name`` holds words before it, such as "kitchen". None if no object of that name has the part.
        """
        if part_name in self.vocabulary.parts or part_name not in lexicon().parts:
            return None
        for cut in range(len(part_name) - 1, 2, -1):
            owner = f"{object_name} {part_name[:cut]}".strip()
            if owner not in (*self.vocabulary.objects, *lexicon().objects):
                continue
            with contextlib.suppress(QueryError):
                if self._is_pair(self._resolve(owner, part_name)):
                    return owner, part_name
        return None

    def _is_asked_for(self, part_name: str, query: PartQuery) -> bool:
        """Return True for a class name in the words of a query; its pair may be one never trained."""
        meant_instead = lexicon().other_parts.get(query.part, ())
        is_class = singular(part_name) in self.vocabulary.parts and part_name not in meant_instead
        return is_class and not is_part_by_verb(query)

    def _is_pair(self, words: dict[ClassName, ClassWeights]) -> bool:
        """Return True if one of the objects has one of the parts, or if only one kind of name is given."""
        names = [[name for name, _ in weights] for weights in words.values()]
        return len(names) < 2 or not self._pairs.isdisjoint(itertools.product(*reversed(names)))

    @cached_property
    def _pairs(self) -> frozenset[tuple[str, str]]:
        """(object, part) of the vocabulary and of the table of affordances."""
        named = {
            pair for verb in lexicon().affordances.values() for pair in verb.parts_by_object.items()
        }
        pairs = set(self.vocabulary.object_parts)
        for object_name, part_name in named:
            with contextlib.suppress(QueryError):
                part, owner = self._resolve(object_name, part_name).values()
                pairs |= {(name, kind) for name, _ in owner for kind, _ in part}
        return frozenset(pairs)

    def _has_part(self, object_name: str, part_name: str) -> bool:
        """Return True if every object that the name means has this part."""
        try:
            meant = self._resolve(object_name, "").values()
        except QueryError:
            return False
        names = [name for weights in meant for name, _ in weights]
        return bool(names) and all(
            (name, part_name) in self.vocabulary.object_parts for name in names
        )

    def _resolve(self, object_name: str, part_name: str) -> dict[ClassName, ClassWeights]:
        names: tuple[ClassName, ...] = (("part", part_name), ("object", object_name))
        return {
            (kind, word): resolve(
                self._synonyms[kind].get(word, word), self._class_names(kind), kind
            )
            for kind, word in names
            if word
        }

    def _class_names(self, kind: Kind) -> tuple[str, ...]:
        return self.vocabulary.objects if kind == "object" else self.vocabulary.parts

    def _name_condition(self, kind: Kind, weights: ClassWeights) -> NDArray[np.float32]:
        """Condition float [D] of a name."""
        known = self._class_names(kind)
        offset = 0 if kind == "object" else len(self.vocabulary.objects)
        row = np.zeros(self.condition_dim, dtype=np.float32)
        largest = max(weight for _, weight in weights)
        for name, weight in weights:
            # A pixel shows one known thing only, so the members of a group ("cutlery") add up.
            row[offset + known.index(name)] = weight / largest
        return row

    def _class_condition(
        self, part: NDArray[np.float32], object_name: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Condition float [D] of the (object, part) classes that two name conditions compose."""
        objects, parts = self.vocabulary.objects, self.vocabulary.parts
        row = np.zeros(self.condition_dim, dtype=np.float32)
        for i, (owner, kind) in enumerate(
            self.vocabulary.object_parts, start=len(objects) + len(parts)
        ):
            row[i] = object_name[objects.index(owner)] * part[len(objects) + parts.index(kind)]
        return row


def _other_words(names: Sequence[str], synonyms: Sequence[Sequence[str]]) -> dict[str, str]:
    """Each synonym of one of ``names`` -> the name."""
    return {word: row[0] for row in synonyms if row[0] in names for word in row[1:]}


def _split_at_part(
    phrase: str, objects: Sequence[str], parts: Sequence[str]
) -> tuple[str, str] | None:
    """(object, part) if ``phrase`` is one of ``objects`` followed by one of ``parts``, letter by letter."""
    words = phrase.split()
    halves = ((" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words)))
    return next(((o, p) for o, p in halves if o in objects and p in parts), None)


def _numbered(items: Iterable[T]) -> dict[T, int]:
    """The distinct items, each with its position in order of first occurrence."""
    return {item: position for position, item in enumerate(dict.fromkeys(items))}
