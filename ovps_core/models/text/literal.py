"""Queries of models that take any words: each name is encoded as it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ovps_core.errors import QueryError
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
            refused.append(RefusedQuery(query.text, _too_long(query.text, text_encoder)))
    return tuple(accepted), tuple(refused)


def refusal_of_name(name: str, text_encoder: TextEncoder) -> str:
    """Why a text encoder cannot tell a name from others; empty if it can."""
    if not name.strip():
        return f"{name!r} is an empty name; expected words"
    return "" if text_encoder.fits(name) else _too_long(name, text_encoder)


def require_readable(names: Sequence[str], text_encoder: TextEncoder) -> None:
    """Check that a text encoder reads each name to its end; names that it cuts would get the same answer.

    Raises:
        QueryError: a name is empty or too long.
    """
    refused = [each for each in (refusal_of_name(name, text_encoder) for name in names) if each]
    if refused:
        raise QueryError("\n".join(refused))


def _too_long(text: str, text_encoder: TextEncoder) -> str:
    return (
        f"{_shortened(text)!r} is too long for the {text_encoder.context_length} tokens that this model reads at "
        "once; use fewer words"
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."
