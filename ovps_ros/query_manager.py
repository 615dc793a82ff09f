"""What the node looks for: the standing queries and those of running goals, encoded when they change.

Words are read and encoded in a thread of their own: a long list takes seconds, and neither the callbacks that
receive images nor the worker between two of them can wait for it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

from ovps_core.errors import QueryError
from ovps_core.language.parser import parse_queries
from ovps_core.models.interface import EncodedQueries
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import PartQuery

Queries = tuple[PartQuery, ...]
QueryReader = Callable[[], Queries]
"""Reads words when the thread comes to them; raises QueryError."""
_PATIENCE = 10.0  # seconds for the words in hand when the node ends
log = logging.getLogger(__name__)


class QueryManager:
    """Changed by callbacks, read by the worker.

    Changes are made one after the other, in the order of the calls. Each gives a future of the standing queries
    as they are after it; where the words are of no use it raises QueryError and what was asked before stays.

    Attributes:
        plan: encoded words of everything asked now; None when nothing is.
        standing: queries that stay until they are replaced.
    """

    def __init__(self) -> None:
        self.plan: EncodedQueries | None = None
        self.standing: Queries = ()
        self._goals: dict[Hashable, Queries] = {}
        self._segmenter: PartSegmenter | None = None
        self._said: list[str] | None = None  # a text that waits, alone in its list
        self._saying = threading.Lock()
        self._closing = threading.Event()
        self._jobs: queue.SimpleQueue[tuple[Future[Queries], Callable[[], Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ovps words", daemon=True)
        self._thread.start()

    def use(self, segmenter: PartSegmenter | None) -> None:
        """Encode with another model from now on, None while there is none; waits until it is done.

        Raises:
            QueryError: the model cannot ask for one of the standing queries.
        """

        def change() -> None:
            self._segmenter = segmenter
            self._set(self.standing, self._goals)

        self._later(change).result()

    def say(self, text: str) -> Future[Queries] | None:
        """New standing queries; of texts that come faster than they can be encoded the newest counts.

        Returns:
            None where an older text waits still: this one is asked in its place.
        """

        newest = [text]

        def change() -> None:
            with self._saying:
                if self._said is newest:
                    self._said = None
            self._set(parse_queries(newest[0]) if newest[0] else (), self._goals)

        with self._saying:
            if self._said is not None:
                self._said[0] = text
                return None
            self._said = newest
            return self._later(change)

    def replace(self, words: QueryReader, *, append: bool = False) -> Future[Queries]:
        """New standing queries, beside the present ones with ``append``."""

        def change() -> None:
            kept = self.standing if append else ()
            self._set(tuple(dict.fromkeys([*kept, *words()])), self._goals)

        with self._saying:
            self._said = None  # what is said from now on comes after this
            return self._later(change)

    def begin(self, goal: Hashable, words: QueryReader) -> Future[Queries]:
        """Look for a goal's queries too."""
        return self._later(lambda: self._set(self.standing, {**self._goals, goal: words()}))

    def end(self, goal: Hashable) -> Future[Queries]:
        """A goal is done."""
        return self._later(
            lambda: self._set(self.standing, {g: q for g, q in self._goals.items() if g != goal})
        )

    def close(self) -> None:
        """After the words in hand; what waits behind them is dropped."""
        self._closing.set()
        self._jobs.put(None)
        self._thread.join(_PATIENCE)

    def _later(self, change: Callable[[], Any]) -> Future[Queries]:
        future: Future[Queries] = Future()
        self._jobs.put((future, change))
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self._closing.is_set():
            future, change = job
            try:
                change()
                future.set_result(self.standing)
            except QueryError as error:  # is told to whoever asked
                future.set_exception(error)
            except Exception as error:
                log.exception("words could not be encoded")
                future.set_exception(QueryError(f"{type(error).__name__}: {error}"))

    def _set(self, standing: Queries, goals: dict[Hashable, Queries]) -> None:
        everything = dict.fromkeys([*standing, *(q for queries in goals.values() for q in queries)])
        plan = None
        if everything and self._segmenter is not None:
            plan = self._segmenter.encode_queries(list(everything))
        self.standing, self._goals, self.plan = standing, goals, plan
