"""Masks into a recording (rosbag2, MCAP) without rosbag2: it plays beside its source in Foxglove and RViz."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer

from ovps_core.ros_io.bags.messages import PART_MASKS, typestore
from ovps_ros.msg import PartMasks

_BAG_VERSION = 9


class MaskRecorder:
    """Records ``/ovps/masks`` while the ``with`` block runs; an older recording at the place goes.

    Args:
        folder: of the recording.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Writer | None = None
        self._connection: Any = None

    def write(self, message: PartMasks, time_ns: int) -> None:
        """Add one message at the time it came."""
        if self._writer is not None:
            self._writer.write(self._connection, time_ns, serialize_message(message))

    def __enter__(self) -> MaskRecorder:
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
        if self._writer is not None:
            self._writer.close()
