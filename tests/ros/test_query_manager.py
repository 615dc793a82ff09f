"""Words reach the model in the order in which they were said, whoever said them, and bad ones change nothing."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from ovps_core.errors import QueryError
from ovps_core.language.parser import parse_queries
from ovps_ros.query_manager import Queries, QueryManager


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

    def words() -> Queries:
        release.wait(10)
        return parse_queries("spoon")

    asked.replace(words)
    return release


def test_of_texts_that_wait_the_newest_counts(asked: QueryManager) -> None:
    release = hold(asked)
    first = asked.say("mug handle")
    assert asked.say("pan handle") is None
    release.set()
    assert texts(first.result(5)) == ["pan handle"]


def test_a_text_said_after_a_service_call_comes_after_it(asked: QueryManager) -> None:
    release = hold(asked)
    asked.say("mug")
    asked.replace(lambda: parse_queries("pan"))
    last = asked.say("knife")
    release.set()
    assert texts(last.result(5)) == ["knife"]
    assert texts(asked.standing) == ["knife"]


def test_words_of_no_use_leave_what_was_asked(asked: QueryManager) -> None:
    asked.say("mug").result(5)
    with pytest.raises(QueryError):
        asked.replace(lambda: parse_queries(["\0"])).result(5)
    assert texts(asked.standing) == ["mug"]


def test_an_empty_text_ends_the_search(asked: QueryManager) -> None:
    asked.say("mug").result(5)
    asked.say("").result(5)
    assert asked.standing == () and asked.plan is None


def test_a_fault_is_told_to_whoever_asked_and_the_next_words_are_taken(asked: QueryManager) -> None:
    with pytest.raises(QueryError, match="KeyError"):
        asked.replace(lambda: {}["no such thing"]).result(5)
    assert texts(asked.say("mug").result(5)) == ["mug"]


def test_closing_drops_what_waits() -> None:
    asked = QueryManager()
    release = hold(asked)
    waiting = asked.say("mug")
    threading.Timer(0.2, release.set).start()
    asked.close()
    assert not waiting.done()
