"""Recorder of masks as a rosbag2 recording (MCAP), for Foxglove and RViz; it needs no rosbag2."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer

from ovps_core.ros_io.bags.messages import typestore
from ovps_core.ros_io.codec import PART_MASKS
from ovps_ros.msg import PartMasks

_BAG_VERSION: Literal[9] = 9


class MaskRecorder:
    """Recorder of ``/ovps/masks`` while the ``with`` block runs.

    Args:
        folder: folder of the recording; an older one is replaced.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Writer | None = None
        self._connection: Any = None

    def write(self, message: PartMasks, time_ns: int) -> None:
        """Add a message.

        Args:
            message: the masks.
            time_ns: time of arrival, nanoseconds.
        """
        if self._writer is not None:
            self._writer.write(self._connection, time_ns, serialize_message(message))

    def __enter__(self) -> MaskRecorder:
        """Open the recording."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._writer = Writer(self._folder, version=_BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._connection = self._writer.add_connection(
            "/ovps/masks", PART_MASKS, typestore=typestore()
        )
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
