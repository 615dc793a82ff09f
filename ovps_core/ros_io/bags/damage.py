"""Reading of recordings that are damaged: what can be read is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rosbags.highlevel import AnyReader

from ovps_core.errors import RecordingError

_WINDOW = 100_000_000  # nanoseconds that are read at once behind damage
_SMALLEST = 5_000_000  # nanoseconds; shorter stretches around damage are not searched

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
        while start < self._reader.end_time:
            yield from self._between(start, start + _WINDOW)
            start += _WINDOW

    def _between(self, start: int, stop: int) -> Iterator[Message]:
        """Messages of a stretch of time; if it cannot be read, those of its halves."""
        try:
            found = list(self._reader.messages(self._connections, start, stop))
        except Exception:  # see __iter__
            if stop - start <= _SMALLEST:
                return
            middle = (start + stop) // 2
            yield from self._between(start, middle)
            yield from self._between(middle, stop)
        else:
            yield from found
