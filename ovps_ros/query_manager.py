"""Active queries and their owners: the persistent queries, and those of running goals.

Phrases are parsed and encoded in a separate thread. A long list takes seconds, and neither the callbacks that
receive images nor the worker that segments them can wait for it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from ovps_core.errors import QueryError
from ovps_core.language.parser import read_queries
from ovps_core.models.interface import EncodedQueries
from ovps_core.ros_io.codec import query_value
from ovps_core.ros_io.recorded import RecordedSegmenter
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import PartQuery, RefusedQuery

Queries = tuple[PartQuery, ...]
Refused = tuple[RefusedQuery, ...]
_MAX_SHOWN = 10  # phrases in the diagnostics
_CLOSE_TIMEOUT = 10.0  # seconds that close() waits for the phrases that are being encoded


@dataclass(frozen=True)
class QueryList:
    """Queries read from phrases.

    Attributes:
        queries: those that can be read, each once.
        refused: phrases that cannot be read.
    """

    queries: Queries = ()
    refused: Refused = ()


QueryReader = Callable[[], QueryList]
"""Function that reads phrases, called in the manager's thread."""


def read_phrases(texts: Iterable[str]) -> QueryList:
    """Read texts, each of which may hold several phrases."""
    return QueryList(*read_queries(texts))


def read_messages(messages: Iterable[Any]) -> QueryList:
    """Read ovps_ros/PartQuery messages."""
    queries: list[PartQuery] = []
    refused: list[RefusedQuery] = []
    for message in messages:
        try:
            queries.append(query_value(message))
        except QueryError as error:
            refused.append(RefusedQuery(message.text, str(error)))
    return QueryList(tuple(dict.fromkeys(queries)), tuple(refused))


def describe_refused(refused: Refused) -> str:
    """Reasons of refused phrases, with the known words closest to them."""
    texts = []
    for query in refused:
        nearest = [word for word in query.nearest if word not in query.reason]
        texts.append(query.reason + (f" (closest: {', '.join(nearest)})" if nearest else ""))
    return "; ".join(texts)


@dataclass(frozen=True)
class QueryUpdate:
    """Result of one change.

    Attributes:
        active: persistent queries after the change.
        accepted: queries of this change that the model answers.
        refused: phrases of this change that it does not answer.
        has_model: a model has read the queries; otherwise only the parser has, and no query is answered yet.
    """

    active: Queries
    accepted: Queries = ()
    refused: Refused = ()
    has_model: bool = True


@dataclass(frozen=True)
class _ActiveQueries:
    """State of the manager, replaced as a whole by each change.

    Attributes:
        persistent: persistent queries as they were given; another model may answer those refused by this one.
        goals: queries of each running goal.
        encoded: queries of all owners, encoded; None if there is nothing to encode, or no model.
        answered: queries of all owners that the model answers, each with those that say how it was read;
            without a model, all that can be parsed.
        refused: phrases of all owners that are not answered.
        has_model: there is a model.
    """

    persistent: QueryList = QueryList()
    goals: Mapping[Hashable, QueryList] = field(default_factory=dict)
    encoded: EncodedQueries | None = None
    answered: Mapping[PartQuery, Queries] = field(default_factory=dict)
    refused: Refused = ()
    has_model: bool = False

    def update(self, changed: QueryList) -> QueryUpdate:
        """Result of a change that added ``changed``."""
        accepted, refused = self._divide(changed)
        return QueryUpdate(self._divide(self.persistent)[0], accepted, refused, self.has_model)

    def _divide(self, queries: QueryList) -> tuple[Queries, Refused]:
        """Queries that are answered, and phrases that are not."""
        accepted = tuple(read for query in queries.queries for read in self.answered.get(query, ()))
        others = {query.text for query in queries.queries} - {query.text for query in accepted}
        return accepted, (*queries.refused, *(q for q in self.refused if q.text in others))


@dataclass
class _PendingText:
    """Text that waits for the thread; a newer text replaces it in the queue."""

    text: str


class QueryManager:
    """Manager of the active queries: changed by callbacks, read by the worker.

    Changes are made one after the other, in the order of the calls. Each gives a future of its
    :class:`QueryUpdate`. Phrases that cannot be read, or that the model cannot answer, are refused, and the
    others become active. If all phrases of a change are refused, its future raises QueryError and the previous
    queries stay active. Any other failure reaches the caller of the future as itself.

    Args:
        on_change: called in the manager's thread after the active queries have changed.
    """

    def __init__(self, on_change: Callable[[], object] = lambda: None) -> None:
        self._on_change = on_change
        self._state = _ActiveQueries()
        self._segmenter: PartSegmenter | RecordedSegmenter | None = None
        self._pending: _PendingText | None = None
        self._pending_lock = threading.Lock()
        self._closing = threading.Event()
        self._jobs: queue.SimpleQueue[tuple[Future[QueryUpdate], Callable[[], QueryUpdate]] | None]
        self._jobs = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ovps queries", daemon=True)
        self._thread.start()

    @property
    def encoded(self) -> EncodedQueries | None:
        """Encoded queries of all owners; None if there is nothing to look for, or no model."""
        return self._state.encoded

    @property
    def persistent(self) -> Queries:
        """Queries that stay until they are replaced, without those that the model cannot answer."""
        return self._state.update(QueryList()).active

    @property
    def refused(self) -> Refused:
        """Phrases of all owners that are not answered."""
        return self._state.refused

    def state(self) -> tuple[str, dict[str, str]]:
        """(message, values) of the ``queries`` diagnostic."""
        queries, refused = self.persistent, self._state.refused
        shown = ", ".join(query.label for query in queries[:_MAX_SHOWN])
        values = {
            "count": str(len(queries)),
            "read as": ", ".join(
                f"{query.label}: {query.read_as}" for query in queries[:_MAX_SHOWN] if query.read_as
            ),
            "refused": ", ".join(query.text for query in refused[:_MAX_SHOWN]),
        }
        return shown or "idle: no queries", values

    def check(self, queries: QueryList) -> Refused:
        """Phrases of a list that would be refused now; nothing is changed and no network runs."""
        segmenter = self._segmenter
        if segmenter is None:
            return queries.refused
        return (*queries.refused, *segmenter.read(queries.queries)[1])

    def set_segmenter(self, segmenter: PartSegmenter | RecordedSegmenter | None) -> QueryUpdate:
        """Set the model that encodes queries, or None if there is no model; wait until the queries are encoded.

        All persistent queries count as changed. If the model refuses all of them, none is active.
        """

        def change() -> QueryUpdate:
            self._segmenter = segmenter
            state = self._encode(self._state.persistent, self._state.goals)
            self._state = state
            self._on_change()
            return state.update(state.persistent)

        return self._submit(change).result()

    def submit_text(self, text: str) -> Future[QueryUpdate] | None:
        """Replace the persistent queries by those of a text; an empty text ends the search.

        If texts come faster than they can be encoded, only the newest one is.

        Returns:
            The future, or None if an older text still waits; its future then gives the result of this one.
        """
        with self._pending_lock:
            if self._pending is not None:
                self._pending.text = text
                return None
            pending = self._pending = _PendingText(text)

            def change() -> QueryUpdate:
                with self._pending_lock:
                    if self._pending is pending:
                        self._pending = None
                return self._set_persistent(read_phrases([pending.text] if pending.text else []))

            return self._submit(change)

    def replace(self, reader: QueryReader, *, append: bool = False) -> Future[QueryUpdate]:
        """Replace the persistent queries, or with ``append`` add to them."""
        with self._pending_lock:
            self._pending = None  # a text that is submitted from now on comes after this change
            return self._submit(lambda: self._set_persistent(reader(), append=append))

    def add_goal(self, goal: Hashable, reader: QueryReader) -> Future[QueryUpdate]:
        """Look for the queries of a goal too."""

        def change() -> QueryUpdate:
            added = reader()
            goals = {**self._state.goals, goal: added}
            return self._change(self._state.persistent, goals, added)

        return self._submit(change)

    def remove_goal(self, goal: Hashable) -> Future[QueryUpdate]:
        """Stop looking for the queries of a goal."""

        def change() -> QueryUpdate:
            goals = {key: queries for key, queries in self._state.goals.items() if key != goal}
            return self._change(self._state.persistent, goals, QueryList())

        return self._submit(change)

    def close(self) -> None:
        """End the thread after the phrases that it is encoding; changes that wait are dropped."""
        self._closing.set()
        self._jobs.put(None)
        self._thread.join(_CLOSE_TIMEOUT)

    def _submit(self, change: Callable[[], QueryUpdate]) -> Future[QueryUpdate]:
        future: Future[QueryUpdate] = Future()
        self._jobs.put((future, change))
        return future

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None and not self._closing.is_set():
            future, change = job
            try:
                future.set_result(change())
            except Exception as error:  # the caller of the future decides what it means
                future.set_exception(error)

    def _set_persistent(self, added: QueryList, *, append: bool = False) -> QueryUpdate:
        kept = self._state.persistent if append else QueryList()
        persistent = QueryList(
            tuple(dict.fromkeys((*kept.queries, *added.queries))),
            tuple(dict.fromkeys((*kept.refused, *added.refused))),
        )
        return self._change(persistent, self._state.goals, added)

    def _change(
        self, persistent: QueryList, goals: Mapping[Hashable, QueryList], added: QueryList
    ) -> QueryUpdate:
        """Make a change, unless all that it adds is refused."""
        state = self._encode(persistent, goals)
        update = state.update(added)
        if update.refused and not update.accepted:
            raise QueryError(describe_refused(update.refused), update.refused)
        self._state = state
        self._on_change()
        return update

    def _encode(self, persistent: QueryList, goals: Mapping[Hashable, QueryList]) -> _ActiveQueries:
        owners = (persistent, *goals.values())
        queries = tuple(dict.fromkeys(query for owner in owners for query in owner.queries))
        refused = tuple(dict.fromkeys(query for owner in owners for query in owner.refused))
        encoded, answered = None, queries
        if queries and self._segmenter is not None:
            try:
                encoded = self._segmenter.encode_queries(queries)
                answered = encoded.queries
                not_answered = (
                    self._name_holders(one, answered, persistent, goals) for one in encoded.refused
                )
                refused = (*refused, *not_answered)
                encoded = replace(encoded, refused=refused)
            except QueryError as error:  # the model answers none of them
                answered, refused = (), (*refused, *error.refused)
        has_model = self._segmenter is not None
        by_query: dict[PartQuery, Queries] = {}
        for query in answered:  # one phrase may give several queries
            given = query.given or query
            by_query[given] = (*by_query.get(given, ()), query)
        return _ActiveQueries(persistent, goals, encoded, by_query, refused, has_model)

    def _name_holders(
        self,
        refused: RefusedQuery,
        answered: Queries,
        persistent: QueryList,
        goals: Mapping[Hashable, QueryList],
    ) -> RefusedQuery:
        """The refusal of a goal's query that the model answers alone: it says which queries leave it no room."""
        of_goals = (query for goal in goals.values() for query in goal.queries)
        query = next((query for query in of_goals if query.text == refused.text), None)
        if query is None or self._segmenter is None or not self._segmenter.read((query,))[0]:
            return refused
        given = set(persistent.queries)
        held = [one.label for one in answered if (one.given or one) in given]
        shown = ", ".join(map(repr, held[:_MAX_SHOWN])) + (" ..." if held[_MAX_SHOWN:] else "")
        names, others = f" ({shown})" if held else "", len(answered) - len(held)
        reason = (
            f"{refused.text!r} does not fit: this model compares all queries with each other, and the active ones "
            f"leave no room: {len(held)} persistent{names}, {others} of goals. Set fewer with ~/set_queries, or "
            "end a goal"
        )
        return replace(refused, reason=reason)
