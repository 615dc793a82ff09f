"""One place per camera that holds the newest frame: a slow model sees fresh images, never a queue."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Frame:
    """An image message as it came, nothing converted yet.

    Attributes:
        camera: name of the camera; "" where there is only one.
        message: sensor_msgs/Image or CompressedImage.
    """

    camera: str
    message: Any


class LatestFrames:
    """Written by callbacks, read by one worker.

    Attributes:
        skipped: frames that were replaced before the worker took them.
    """

    def __init__(self) -> None:
        self._frames: dict[str, Frame] = {}
        self._ready = threading.Condition()
        self.skipped = 0

    def put(self, frame: Frame) -> None:
        """Keep this frame, forget an older one of the same camera."""
        with self._ready:
            self.skipped += frame.camera in self._frames
            self._frames[frame.camera] = frame
            self._ready.notify()

    def take(self, timeout: float) -> list[Frame]:
        """The newest frame of every camera that has one; empty after ``timeout`` seconds."""
        with self._ready:
            self._ready.wait_for(lambda: bool(self._frames), timeout)
            frames = list(self._frames.values())
            self._frames.clear()
            return frames

    def clear(self) -> None:
        """Forget all frames."""
        with self._ready:
            self._frames.clear()
