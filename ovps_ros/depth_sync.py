"""Matching of depth images to colour images by stamp."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from sensor_msgs.msg import CameraInfo, Image

from ovps_core.ros_io.codec import nanoseconds

_KEPT = 8  # at 30 Hz a quarter of a second: longer than a colour image waits for the model


@dataclass
class DepthBuffer:
    """The last depth images of one camera; written by callbacks, read by the worker.

    Attributes:
        info: the newest camera_info; None before the first.
    """

    info: CameraInfo | None = None
    _images: deque[Image] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _reserved_ns: int | None = None
    _reserved: Image | None = None
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    def put(self, message: Image) -> None:
        """Keep a depth image."""
        with self._arrived:
            self._images.append(message)
            if self._reserved_ns is not None:
                self._reserved = self._nearest(self._reserved_ns)
            self._arrived.notify_all()

    def put_info(self, message: CameraInfo) -> None:
        """Keep the newest camera_info."""
        self.info = message

    def reserve(self, stamp_ns: int) -> None:
        """Keep the depth image nearest to a stamp until the next call, also if newer ones fill the buffer.

        Args:
            stamp_ns: stamp of the colour image that is about to be segmented, nanoseconds.
        """
        with self._arrived:
            self._reserved_ns, self._reserved = stamp_ns, self._nearest(stamp_ns)

    def take_nearest(self, stamp_ns: int, slop: float) -> tuple[Image | None, str]:
        """Return the depth image nearest to a stamp, after waiting up to ``slop`` seconds for it to arrive.

        Args:
            stamp_ns: stamp of the colour image, nanoseconds.
            slop: maximum difference of the stamps, and maximum wait, seconds.

        Returns:
            (image, "") or (None, reason).
        """
        limit = round(slop * 1e9)
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest_ns() >= stamp_ns, timeout=max(slop, 0.001))
            best = self._nearest(stamp_ns)
        if best is None:
            return None, "no depth image has come"
        difference = nanoseconds(best.header.stamp) - stamp_ns
        if abs(difference) > limit:
            side = "older" if difference < 0 else "newer"
            seconds = abs(difference) / 1e9
            return None, f"the nearest depth image is {seconds:.3f} s {side} than the colour image"
        return best, ""

    def _nearest(self, stamp_ns: int) -> Image | None:
        images = [*self._images, *([self._reserved] if self._reserved else [])]
        return min(images, key=lambda m: abs(nanoseconds(m.header.stamp) - stamp_ns), default=None)

    def _newest_ns(self) -> int:
        return max((nanoseconds(m.header.stamp) for m in self._images), default=-1)
