"""Reader of requests that one model answers as several queries, or only with objects: "all parts of the mug"."""

from __future__ import annotations

from collections.abc import Sequence

from ovps_core.errors import QueryError
from ovps_core.language.fields import check_fields
from ovps_core.language.selection import (
    Selectors,
    asks_for_all_parts,
    expand_all_parts,
    object_of_all_parts,
    read_selection,
    refuse,
)
from ovps_core.models.interface import ModelSpec, QueryEncoder
from ovps_core.objects.object_sources import ObjectSource
from ovps_core.structures.query import PartQuery, RefusedQuery


class RequestReader:
    """Reader of what a query asks beyond the names of a part and its object.

    Args:
        query_encoder: encoder of the model.
        spec: of the model.
        selectors: what the segmenter can choose by.
        source: of objects; None for none.
    """

    def __init__(
        self,
        query_encoder: QueryEncoder,
        spec: ModelSpec,
        selectors: Selectors,
        source: ObjectSource | None = None,
    ) -> None:
        self._query_encoder, self._selectors = query_encoder, selectors
        self._vocabulary = spec.vocabulary
        self._source = source

    def read(
        self, queries: Sequence[PartQuery]
    ) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
        """Queries for the model, each with the one that it was made from, and refused ones."""
        accepted: list[PartQuery] = []
        refused: list[RefusedQuery] = []
        for query in queries:
            try:
                selected = read_selection(check_fields(query), self._selectors)
                self._check_object(selected)
                accepted += self._expand(selected) if asks_for_all_parts(selected) else (selected,)
            except QueryError as error:
                refused.append(refuse(query, error))
        return tuple(dict.fromkeys(accepted)), tuple(refused)

    def _check_object(self, query: PartQuery) -> None:
        """Refuse an object that the source cannot look for; a closed vocabulary has its own names."""
        if self._source is None or self._vocabulary is not None or not query.object:
            return
        for name in query.object.split(", "):
            if reason := self._source.refusal_of(name):
                raise QueryError(reason)

    def _expand(self, query: PartQuery) -> tuple[PartQuery, ...]:
        if self._vocabulary is None:
            return expand_all_parts(query, None)
        known, unknown = self._query_encoder.read([object_of_all_parts(query)])
        if unknown:
            raise QueryError(unknown[0].reason)
        names = known[0].read_as.object.split(", ") if known[0].read_as else ()
        return expand_all_parts(query, self._vocabulary.object_parts, names)
