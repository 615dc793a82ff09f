"""Conditions whose answers depend on one another, of models that compare the queries with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ovps_core.models.interface import Conditions
from ovps_core.structures.query import PartQuery, RefusedQuery

MAX_JOINT_ROWS = 32
"""Maximum number of names, and of object parts, that queries may need in one call, the background included."""


@dataclass(frozen=True)
class JointConditions(Conditions):
    """Conditions that a model decodes in one call, because each row's answer depends on all others.

    Engines neither split nor pad them: both would change the answers.

    Attributes:
        num_parts: number of rows of ``names`` that are parts; they are the first. The others are objects and the
            background.
    """

    num_parts: int = 0


def refuse_beyond(
    max_rows: int, queries: Sequence[PartQuery], rows: Callable[[Sequence[PartQuery]], int]
) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
    """Divide queries into the first ones that fit together into one call, and the others.

    Args:
        max_rows: maximum number of rows without the background.
        queries: the queries, the most important first.
        rows: function that counts the rows that queries need together.
    """
    accepted: list[PartQuery] = []
    refused: list[RefusedQuery] = []
    for query in queries:
        if rows([*accepted, query]) <= max_rows:
            accepted.append(query)
            continue
        reason = (
            f"{query.text!r} does not fit beside the queries before it: this model compares all queries with each "
            f"other, at most {max_rows} at once; remove some"
        )
        refused.append(RefusedQuery(query.text, reason))
    return tuple(accepted), tuple(refused)
