"""Queries of models that take any words: each name is encoded as it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ovps_core.models.text.tower import TextEncoder
from ovps_core.structures.query import PartQuery, ReadAs, RefusedQuery


def read_literally(
    queries: Sequence[PartQuery],
    text_encoder: TextEncoder,
    phrases: Callable[[PartQuery], Iterable[str]],
) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
    """Divide queries into those that the text encoder can read to their end, and the others.

    Args:
        queries: the queries.
        text_encoder: the model's text encoder.
        phrases: function that returns the texts that the model encodes for a query.
    """
    accepted: list[PartQuery] = []
    refused: list[RefusedQuery] = []
    for query in queries:
        if all(map(text_encoder.fits, phrases(query))):
            accepted.append(replace(query, read_as=ReadAs(query.object, query.part)))
        else:
            reason = (
                f"{_shortened(query.text)!r} has more than the {text_encoder.context_length} tokens that this "
                "model reads; use fewer words"
            )
            refused.append(RefusedQuery(query.text, reason))
    return tuple(accepted), tuple(refused)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."
