"""Store of the newest frame of every camera, so that a slow model skips frames instead of queueing them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from sensor_msgs.msg import CompressedImage, Image


@dataclass(frozen=True)
class Frame:
    """Image message as it arrived, not yet decoded.

    Attributes:
        camera: name of the camera; "" if there is only one.
        message: the image as it was received.
        arrived_at: time of its arrival on the monotonic clock, seconds.
    """

    camera: str
    message: Image | CompressedImage
    arrived_at: float = field(default_factory=time.monotonic)


class LatestFrames:
    """Store of the newest frame per camera; written by callbacks, read by one worker.

    Attributes:
        skipped: number of frames of each camera that were replaced before the worker took them.
    """

    def __init__(self) -> None:
        self._frames: dict[str, Frame] = {}
        self._ready = threading.Condition()
        self.skipped: Counter[str] = Counter()

    def put(self, frame: Frame) -> None:
        """Keep a frame and drop the previous one of the same camera."""
        with self._ready:
            self.skipped[frame.camera] += frame.camera in self._frames
            self._frames[frame.camera] = frame
            self._ready.notify()

    def take(self, timeout: float) -> list[Frame]:
        """Take the newest frame of every camera that has one, waiting up to ``timeout`` seconds for the first."""
        with self._ready:
            self._ready.wait_for(lambda: bool(self._frames), timeout)
            frames = list(self._frames.values())
            self._frames.clear()
            return frames

    def clear(self) -> None:
        """Drop all frames."""
        with self._ready:
            self._frames.clear()
