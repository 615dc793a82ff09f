"""Recorder of messages as a rosbag2 recording (MCAP), for Foxglove and RViz; it needs no rosbag2."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer

from ovps_core.ros_io.bags.messages import typestore

_BAG_VERSION: Literal[9] = 9


class Recorder:
    """Recorder of standard messages and those of ovps_ros while the ``with`` block runs.

    Args:
        folder: folder of the recording; an older one is replaced.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Writer | None = None
        self._connections: dict[str, Any] = {}

    def write(self, topic: str, message: Any, time_ns: int) -> None:
        """Add a message of rclpy.

        Args:
            topic: full name of its topic, such as "/ovps/masks".
            message: the message; a topic has messages of one type.
            time_ns: time of arrival, nanoseconds.
        """
        if self._writer is None:
            return
        if topic not in self._connections:
            kind = f"{type(message).__module__.split('.')[0]}/msg/{type(message).__name__}"
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=typestore()
            )
        self._writer.write(self._connections[topic], time_ns, serialize_message(message))

    def __enter__(self) -> Recorder:
        """Open the recording."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._writer = Writer(self._folder, version=_BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._connections = {}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the recording."""
        if self._writer is not None:
            self._writer.close()
