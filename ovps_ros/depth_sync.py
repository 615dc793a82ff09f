"""Depth to colour by stamp: the last few depth images, and the one whose colour image the model has in hand."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from sensor_msgs.msg import CameraInfo, Image

from ovps_ros.messages import nanoseconds

_KEPT = 8  # at 30 Hz a quarter of a second: longer than a colour image waits for the model


@dataclass
class DepthBuffer:
    """Written by callbacks, read by the worker.

    Attributes:
        info: the newest camera_info; None before the first.
    """

    info: CameraInfo | None = None
    _images: deque[Image] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _wanted_ns: int | None = None
    _held: Image | None = None
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    def put(self, message: Image) -> None:
        """Keep a depth image."""
        with self._arrived:
            self._images.append(message)
            if self._wanted_ns is not None:
                self._held = self._nearest(self._wanted_ns)
            self._arrived.notify_all()

    def put_info(self, message: CameraInfo) -> None:
        """Keep the newest camera_info."""
        self.info = message

    def hold(self, stamp_ns: int) -> None:
        """Keep the depth image nearest to a stamp, whatever comes, until the next call."""
        with self._arrived:
            self._wanted_ns, self._held = stamp_ns, self._nearest(stamp_ns)

    def match(self, stamp_ns: int, slop: float) -> tuple[Image | None, str]:
        """The depth image nearest to a stamp, waiting ``slop`` seconds for one that is on its way.

        Returns:
            (image, "") or (None, why not).
        """
        limit = round(slop * 1e9)
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest_ns() >= stamp_ns, timeout=max(slop, 0.001))
            best = self._nearest(stamp_ns)
        if best is None:
            return None, "no depth image has come"
        apart = nanoseconds(best.header.stamp) - stamp_ns
        if abs(apart) > limit:
            side = "older" if apart < 0 else "newer"
            return (
                None,
                f"the nearest depth image is {abs(apart) / 1e9:.3f} s {side} than the colour image",
            )
        return best, ""

    def _nearest(self, stamp_ns: int) -> Image | None:
        images = [*self._images, *([self._held] if self._held else [])]
        return min(images, key=lambda m: abs(nanoseconds(m.header.stamp) - stamp_ns), default=None)

    def _newest_ns(self) -> int:
        return max((nanoseconds(m.header.stamp) for m in self._images), default=-1)
