"""Reading of recordings that are damaged: what can be read is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from rosbags.highlevel import AnyReader

from ovps_core.errors import RecordingError

IN_DAMAGE = "messages in damaged places"
"""Reason by which lost messages are counted."""
_WINDOW = 100_000_000  # nanoseconds that are read at once behind damage
_SMALLEST = 5_000_000  # nanoseconds; shorter stretches around damage are not searched
_FAILURES = 1000  # failed reads of one stretch; from then on it is searched in few steps
_STEPS = 64

Message = tuple[Any, int, bytes]
"""Connection, record time in nanoseconds, serialised message."""


def deserialize(reader: AnyReader, raw: bytes, type_name: str) -> Any:
    """Message of rosbags from its bytes.

    Raises:
        RecordingError: the bytes are no such message.
    """
    try:
        return reader.deserialize(raw, type_name)
    except Exception as error:  # generated code raises whatever NumPy and struct do
        raise RecordingError(f"a damaged message of the type {type_name}: {error}") from error


class MessageReader:
    """Reader of the messages of a recording, in the order of record times, that steps over damaged places.

    The libraries below end at a damaged chunk or database page with errors of many kinds. Behind it, this reader
    goes on in short stretches of time and leaves out those that fail.

    Args:
        reader: an open recording.
        connections: connections to read; none reads nothing.

    Attributes:
        lost: messages of these connections that the last pass could not read.
    """

    def __init__(self, reader: AnyReader, connections: Sequence[Any]) -> None:
        self.lost = 0
        self._failures = 0
        self._reader, self._connections = reader, connections

    def __iter__(self) -> Iterator[Message]:
        """Read all messages that can be read."""
        self.lost = 0
        if not self._connections:
            return
        count, reached = 0, self._reader.start_time - 1
        try:
            for message in self._reader.messages(self._connections):
                count, reached = count + 1, message[1]
                yield message
        except Exception:  # each storage has errors of its own for damaged bytes
            for message in self._behind(reached + 1):
                count += 1
                yield message
            expected = sum(connection.msgcount for connection in self._connections)
            self.lost = max(1, expected - count)

    def _behind(self, start: int) -> Iterator[Message]:
        """Messages from a time on. Stretches grow while they are empty, since a clock may jump by years."""
        window = _WINDOW
        while start < self._reader.end_time:
            self._failures, count = 0, 0
            for message in self._between(start, start + window, window // _STEPS):
                count += 1
                yield message
            start += window
            window = _WINDOW if count else 2 * window

    def _between(self, start: int, stop: int, step: int) -> Iterator[Message]:
        """Messages of a stretch of time; those of its halves if it is long or cannot be read."""
        is_long = stop - start > _WINDOW  # too many messages to hold, unless there are none
        found: list[Message] = []
        try:
            messages = self._reader.messages(self._connections, start, stop)
            found += islice(messages, 1 if is_long else None)
            is_read = not found or not is_long
        except Exception:  # see __iter__
            self._failures += 1
            smallest = _SMALLEST if self._failures < _FAILURES else max(step, _SMALLEST)
            found, is_read = [], stop - start <= smallest
        if is_read:
            yield from found
            return
        middle = (start + stop) // 2
        yield from self._between(start, middle, step)
        yield from self._between(middle, stop, step)
