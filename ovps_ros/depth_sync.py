"""Matching of messages, such as depth images, to colour images by stamp."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from sensor_msgs.msg import CameraInfo

from ovps_core.ros_io.codec import nanoseconds

_KEPT = 8  # at 30 Hz a quarter of a second: longer than a colour image waits for the model


@dataclass
class StampedBuffer:
    """The last messages of one input of a camera; written by callbacks, read by the worker.

    Attributes:
        noun: name of one message, for reasons: "depth image".
    """

    noun: str
    _images: deque[Any] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _reserved_ns: int | None = None
    _reserved: Any = None
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def is_empty(self) -> bool:
        """True until the first message comes."""
        return not self._images

    def put(self, message: Any) -> None:
        """Keep a message."""
        with self._arrived:
            self._images.append(message)
            if self._reserved_ns is not None:
                self._reserved = self._nearest(self._reserved_ns)
            self._arrived.notify_all()

    def reserve(self, stamp_ns: int) -> None:
        """Keep the message nearest to a stamp until the next call, also if newer ones fill the buffer.

        Args:
            stamp_ns: stamp of the colour image that is about to be segmented, nanoseconds.
        """
        with self._arrived:
            self._reserved_ns, self._reserved = stamp_ns, self._nearest(stamp_ns)

    def take_nearest(
        self, stamp_ns: int, slop: float, wait: float | None = None
    ) -> tuple[Any, str]:
        """Return the message nearest to a stamp, after waiting for it to arrive.

        Args:
            stamp_ns: stamp of the colour image, nanoseconds.
            slop: maximum difference of the stamps, seconds.
            wait: maximum wait, seconds; ``slop`` if not given.

        Returns:
            (message, "") or (None, reason).
        """
        limit = round(slop * 1e9)
        timeout = max(slop if wait is None else wait, 0.001)
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest_ns() >= stamp_ns, timeout)
            best = self._nearest(stamp_ns)
        if best is None:
            return None, f"no {self.noun} has come"
        difference = nanoseconds(best.header.stamp) - stamp_ns
        if abs(difference) > limit:
            side = "older" if difference < 0 else "newer"
            seconds = abs(difference) / 1e9
            return None, f"the nearest {self.noun} is {seconds:.3f} s {side} than the colour image"
        return best, ""

    def _nearest(self, stamp_ns: int) -> Any:
        images = [*self._images, *([self._reserved] if self._reserved else [])]
        return min(images, key=lambda m: abs(nanoseconds(m.header.stamp) - stamp_ns), default=None)

    def _newest_ns(self) -> int:
        return max((nanoseconds(m.header.stamp) for m in self._images), default=-1)


@dataclass
class DepthBuffer(StampedBuffer):
    """The last depth images of one camera, and its camera_info.

    Attributes:
        info: the newest camera_info of the colour camera; None before the first.
        depth_info: the newest camera_info of the depth camera; None if it is not sent.
    """

    noun: str = "depth image"
    info: CameraInfo | None = None
    depth_info: CameraInfo | None = None

    def put_info(self, message: CameraInfo) -> None:
        """Keep the newest camera_info of the colour camera."""
        self.info = message

    def put_depth_info(self, message: CameraInfo) -> None:
        """Keep the newest camera_info of the depth camera."""
        self.depth_info = message
