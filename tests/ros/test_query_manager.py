"""Queries reach the model in the order of the calls, whoever makes them; refused ones leave the others active."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from ovps_core.errors import QueryError
from ovps_ros.query_manager import Queries, QueryList, QueryManager, read_phrases


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
