"""Queries reach the model in the order of the calls, whoever makes them; refused ones leave the others active."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from ovps_core.errors import QueryError
from ovps_core.models.interface import Conditions, EncodedQueries
from ovps_core.structures.query import RefusedQuery
from ovps_ros.query_manager import (
    Queries,
    QueryList,
    QueryManager,
    describe_refused,
    read_phrases,
)


@pytest.fixture
def asked() -> QueryManager:
    asked = QueryManager()
    yield asked
    asked.close()


def texts(queries: Queries) -> list[str]:
    return [query.text for query in queries]


def hold(asked: QueryManager) -> threading.Event:
    """Keep the thread busy until the event is set."""
    release = threading.Event()

    def words() -> QueryList:
        release.wait(10)
        return read_phrases(["spoon"])

    asked.replace(words)
    return release


def test_of_texts_that_wait_the_newest_counts(asked: QueryManager) -> None:
    release = hold(asked)
    first = asked.submit_text("mug handle")
    assert asked.submit_text("pan handle") is None
    release.set()
    assert texts(first.result(5).active) == ["pan handle"]


def test_a_text_said_after_a_service_call_comes_after_it(asked: QueryManager) -> None:
    release = hold(asked)
    asked.submit_text("mug")
    asked.replace(lambda: read_phrases(["pan"]))
    last = asked.submit_text("knife")
    release.set()
    assert texts(last.result(5).active) == ["knife"]
    assert texts(asked.persistent) == ["knife"]


def test_words_of_no_use_leave_what_was_asked(asked: QueryManager) -> None:
    asked.submit_text("mug").result(5)
    with pytest.raises(QueryError):
        asked.replace(lambda: read_phrases(["\0"])).result(5)
    assert texts(asked.persistent) == ["mug"]


def test_an_empty_text_ends_the_search(asked: QueryManager) -> None:
    asked.submit_text("mug").result(5)
    asked.submit_text("").result(5)
    assert asked.persistent == () and asked.encoded is None


def test_a_fault_is_told_to_whoever_asked_and_the_next_words_are_taken(asked: QueryManager) -> None:
    with pytest.raises(KeyError):
        asked.replace(lambda: {}["no such thing"]).result(5)
    assert texts(asked.submit_text("mug").result(5).active) == ["mug"]


def test_closing_drops_what_waits() -> None:
    asked = QueryManager()
    release = hold(asked)
    waiting = asked.submit_text("mug")
    threading.Timer(0.2, release.set).start()
    asked.close()
    assert not waiting.done()


class ClosedVocabulary:
    """A segmenter that answers only some queries, or fails."""

    def __init__(self, *known: str, failure: Exception | None = None) -> None:
        self.known, self.failure = known, failure

    def read(self, queries: Queries) -> tuple[Queries, tuple[RefusedQuery, ...]]:
        return tuple(query for query in queries if query.text in self.known), ()

    def encode_queries(self, queries: Queries) -> EncodedQueries:
        if self.failure is not None:
            raise self.failure
        accepted = tuple(query for query in queries if query.text in self.known)
        refused = tuple(
            RefusedQuery(query.text, f"{query.text!r} is unknown", self.known)
            for query in queries
            if query not in accepted
        )
        if not accepted:
            raise QueryError("\n".join(query.reason for query in refused), refused)
        return EncodedQueries(accepted, Conditions.placeholder(1), (), refused)


def test_of_a_list_with_unknown_words_the_rest_becomes_active(asked: QueryManager) -> None:
    asked.set_segmenter(ClosedVocabulary("mug", "pan"))
    update = asked.submit_text("mug, sprocket, \N{PILE OF POO}").result(5)
    assert texts(update.active) == texts(update.accepted) == ["mug"]
    assert {query.text for query in update.refused} == {"sprocket", "\N{PILE OF POO}"}
    assert ("mug", "pan") in {query.nearest for query in update.refused}
    assert set(asked.encoded.refused) == set(asked.refused) == set(update.refused)
    assert "mug, pan" in describe_refused(update.refused)


def test_if_nothing_is_left_the_previous_queries_stay(asked: QueryManager) -> None:
    asked.set_segmenter(ClosedVocabulary("mug"))
    asked.submit_text("mug").result(5)
    with pytest.raises(QueryError, match="sprocket") as raised:
        asked.replace(lambda: read_phrases(["sprocket"]), append=True).result(5)
    assert [query.text for query in raised.value.refused] == ["sprocket"]
    assert texts(asked.persistent) == ["mug"] and asked.refused == ()


def test_another_model_is_asked_for_what_the_first_refused(asked: QueryManager) -> None:
    asked.submit_text("mug, sprocket").result(5)
    assert texts(asked.set_segmenter(ClosedVocabulary("pan")).active) == []
    assert asked.encoded is None and len(asked.refused) == 2
    assert texts(asked.set_segmenter(ClosedVocabulary("mug", "sprocket")).active) == [
        *("mug", "sprocket")
    ]


def test_a_goal_keeps_its_own_refused_words(asked: QueryManager) -> None:
    asked.set_segmenter(ClosedVocabulary("mug", "pan"))
    asked.submit_text("mug, gear").result(5)
    update = asked.add_goal("goal", lambda: read_phrases(["pan, sprocket"])).result(5)
    assert texts(update.accepted) == ["pan"] and texts(update.active) == ["mug"]
    assert [query.text for query in update.refused] == ["sprocket"]
    assert texts(asked.encoded.queries) == ["mug", "pan"]
    asked.remove_goal("goal").result(5)
    assert [query.text for query in asked.refused] == ["gear"]


class Crowded(ClosedVocabulary):
    """A segmenter that answers one query at a time."""

    def read(self, queries: Queries) -> tuple[Queries, tuple[RefusedQuery, ...]]:
        refused = (RefusedQuery(query.text, "too many") for query in queries[1:])
        return tuple(queries[:1]), tuple(refused)

    def encode_queries(self, queries: Queries) -> EncodedQueries:
        accepted, refused = self.read(queries)
        return EncodedQueries(accepted, Conditions.placeholder(1), (), refused)


def test_a_goal_without_room_is_told_which_queries_hold_it(asked: QueryManager) -> None:
    asked.set_segmenter(Crowded())
    asked.submit_text("mug").result(5)
    with pytest.raises(QueryError, match="'pan' does not fit") as raised:
        asked.add_goal("goal", lambda: read_phrases(["pan"])).result(5)
    assert "leave no room: 1 persistent ('mug'), 0 of goals" in str(raised.value)
    assert texts(asked.encoded.queries) == ["mug"]


def test_a_failure_while_encoding_is_not_taken_for_wrong_words(asked: QueryManager) -> None:
    asked.set_segmenter(ClosedVocabulary("mug"))
    asked.submit_text("mug").result(5)
    asked._segmenter = ClosedVocabulary(failure=MemoryError("the device is full"))
    with pytest.raises(MemoryError, match="the device is full"):
        asked.submit_text("pan").result(5)
    assert texts(asked.persistent) == ["mug"]
