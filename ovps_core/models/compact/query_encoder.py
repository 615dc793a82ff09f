"""Query encoder for a closed vocabulary: each word becomes weights of known words, or is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from ovps_core.errors import QueryError
from ovps_core.language.resolver import (
    ClassWeights,
    Kind,
    explain_refusal,
    resolve,
    split_object_part,
)
from ovps_core.models.interface import (
    ClosedVocabulary,
    Conditions,
    EncodedQueries,
    QueryEncoder,
    QueryRows,
    require_accepted,
)
from ovps_core.structures.query import PartQuery, RefusedQuery

T = TypeVar("T")
ClassName = tuple[Kind, str]
"""Kind of a word, and the word."""


class VocabularyEncoder(QueryEncoder):
    """Encodes the words that a model knows, and synonyms of them.

    A condition has one column per object, part and (object, part) class of the vocabulary, in this order.
    """

    def __init__(self, vocabulary: ClosedVocabulary) -> None:
        self.vocabulary = vocabulary
        self.condition_dim = sum(
            map(len, (vocabulary.objects, vocabulary.parts, vocabulary.object_parts))
        )

    def encode(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """See :meth:`QueryEncoder.encode`; queries with a word that is not known are refused."""
        accepted: list[tuple[PartQuery, dict[ClassName, ClassWeights]]] = []
        refused: list[RefusedQuery] = []
        for query in queries:
            try:
                accepted.append((query, self._class_weights(query)))
            except QueryError:
                known = self.vocabulary
                refused.append(
                    explain_refusal(query, known.objects, known.parts, known.object_parts)
                )
        require_accepted(accepted, refused)
        words_of_queries = [tuple(words) for _, words in accepted]
        weights = {name: weight for _, words in accepted for name, weight in words.items()}
        rows = [self._name_condition(kind, weight) for (kind, _), weight in weights.items()]
        names = _numbered(weights)
        classes = _numbered(words for words in words_of_queries if len(words) == 2)
        indices = [[names[word] for word in words] for words in classes]
        composed = [self._class_condition(rows[part], rows[name]) for part, name in indices]
        part_index, object_index = torch.tensor(indices, dtype=torch.int64).reshape(-1, 2).unbind(1)
        empty = torch.zeros(0, self.condition_dim)
        conditions = Conditions(
            names=torch.stack(rows) if rows else empty,
            object_parts=torch.stack(composed) if composed else empty,
            part_index=part_index,
            object_index=object_index,
        )
        query_rows = tuple(
            QueryRows(object_parts=(classes[words],))
            if len(words) == 2
            else QueryRows(names=(names[words[0]],))
            for words in words_of_queries
        )
        return EncodedQueries(
            tuple(query for query, _ in accepted), conditions, query_rows, tuple(refused)
        )

    def _class_weights(self, query: PartQuery) -> dict[ClassName, ClassWeights]:
        """Known words for each word of a query, part first.

        Raises:
            QueryError: a word is not known.
        """
        try:
            return self._resolve(query.object, query.part)
        except QueryError:
            whole = "" if query.object and query.part else query.object or query.part
            split = split_object_part(whole, self.vocabulary.objects, self.vocabulary.parts)
            if split is None:
                raise
            return self._resolve(*split)

    def _resolve(self, object_name: str, part_name: str) -> dict[ClassName, ClassWeights]:
        names: tuple[ClassName, ...] = (("part", part_name), ("object", object_name))
        return {
            (kind, word): resolve(word, self._class_names(kind), kind)
            for kind, word in names
            if word
        }

    def _class_names(self, kind: Kind) -> tuple[str, ...]:
        return self.vocabulary.objects if kind == "object" else self.vocabulary.parts

    def _name_condition(self, kind: Kind, weights: ClassWeights) -> Tensor:
        """Condition float [D] of a name."""
        known = self._class_names(kind)
        offset = 0 if kind == "object" else len(self.vocabulary.objects)
        row = torch.zeros(self.condition_dim)
        largest = max(weight for _, weight in weights)
        for name, weight in weights:
            # A pixel shows one known thing only, so the members of a group ("cutlery") add up.
            row[offset + known.index(name)] = weight / largest
        return row

    def _class_condition(self, part: Tensor, object_name: Tensor) -> Tensor:
        """Condition float [D] of the (object, part) classes that two name conditions compose."""
        objects, parts = self.vocabulary.objects, self.vocabulary.parts
        row = torch.zeros(self.condition_dim)
        for i, (owner, kind) in enumerate(
            self.vocabulary.object_parts, start=len(objects) + len(parts)
        ):
            row[i] = object_name[objects.index(owner)] * part[len(objects) + parts.index(kind)]
        return row


def _numbered(items: Iterable[T]) -> dict[T, int]:
    """The distinct items, each with its position in order of first occurrence."""
    return {item: position for position, item in enumerate(dict.fromkeys(items))}
