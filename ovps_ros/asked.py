"""What the node looks for: the standing queries and those of running goals, encoded when they change."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable

from ovps_core.models.base import QueryPlan
from ovps_core.query import PartQuery
from ovps_core.segmenter import PartSegmenter

Queries = tuple[PartQuery, ...]


class Asked:
    """Changed by callbacks, read by the worker.

    Attributes:
        plan: encoded words of everything asked now; None when nothing is.
        standing: queries that stay until they are replaced.
    """

    def __init__(self) -> None:
        self.plan: QueryPlan | None = None
        self.standing: Queries = ()
        self._goals: dict[Hashable, Queries] = {}
        self._segmenter: PartSegmenter | None = None
        self._lock = threading.Lock()

    def use(self, segmenter: PartSegmenter | None) -> None:
        """Encode with another model from now on; None while there is none.

        Raises:
            QueryError: the model cannot ask for one of the standing queries.
        """
        with self._lock:
            self._segmenter = segmenter
            self._set(self.standing, self._goals)

    def replace(self, queries: Iterable[PartQuery], *, append: bool = False) -> Queries:
        """New standing queries; on an error the old ones stay.

        Raises:
            QueryError: the model cannot ask for one of them.
        """
        with self._lock:
            kept = self.standing if append else ()
            self._set(tuple(dict.fromkeys([*kept, *queries])), self._goals)
            return self.standing

    def begin(self, goal: Hashable, queries: Iterable[PartQuery]) -> None:
        """Look for a goal's queries too.

        Raises:
            QueryError: the model cannot ask for one of them.
        """
        with self._lock:
            self._set(self.standing, {**self._goals, goal: tuple(queries)})

    def end(self, goal: Hashable) -> None:
        """A goal is done."""
        with self._lock:
            self._set(self.standing, {g: q for g, q in self._goals.items() if g != goal})

    def _set(self, standing: Queries, goals: dict[Hashable, Queries]) -> None:
        everything = dict.fromkeys([*standing, *(q for queries in goals.values() for q in queries)])
        plan = None
        if everything and self._segmenter is not None:
            plan = self._segmenter.plan(list(everything))
        self.standing, self._goals, self.plan = standing, goals, plan
