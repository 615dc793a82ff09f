"""Matching of messages, such as depth images and camera_info, to colour images by stamp."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ovps_core.ros_io.codec import nanoseconds

_KEPT = 8  # at 30 Hz a quarter of a second: longer than a colour image waits for the model
SAME_STAMP = 0.001
"""Difference up to which two stamps are taken for one, seconds: some programs round them."""
_INFO_SLOP_NS = 20_000_000  # a camera_info that is nearer to an image is the image's own


class _Arrival(NamedTuple):
    message: Any
    stamp_ns: int
    at: float  # monotonic clock, seconds


@dataclass
class StampedBuffer:
    """The last messages of one input of a camera; written by callbacks, read by the worker.

    Of messages with equal stamps, the one that arrived at the same time as the colour image is meant, else the
    newest.

    Attributes:
        noun: name of one message, for reasons: "depth image".
    """

    noun: str
    _kept: deque[_Arrival] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _reserved_for: tuple[int, float] | None = None
    _reserved: _Arrival | None = None
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def is_empty(self) -> bool:
        """True until the first message comes."""
        return not self._kept

    def put(self, message: Any) -> None:
        """Keep a message."""
        with self._arrived:
            stamp_ns = nanoseconds(message.header.stamp)
            self._kept.append(_Arrival(message, stamp_ns, time.monotonic()))
            if self._reserved_for is not None:
                self._reserved = self._nearest(*self._reserved_for)
            self._arrived.notify_all()

    def clear(self) -> None:
        """Forget all messages."""
        with self._arrived:
            self._kept.clear()
            self._reserved = self._reserved_for = None

    def reserve(self, stamp_ns: int, arrived_at: float | None = None) -> None:
        """Keep the message nearest to a stamp until the next call, also if newer ones fill the buffer.

        Args:
            stamp_ns: stamp of the colour image that is about to be segmented, nanoseconds.
            arrived_at: time of its arrival on the monotonic clock, seconds; now if not given.
        """
        arrived_at = time.monotonic() if arrived_at is None else arrived_at
        with self._arrived:
            self._reserved_for = stamp_ns, arrived_at
            self._reserved = self._nearest(stamp_ns, arrived_at)

    def take_nearest(
        self,
        stamp_ns: int,
        slop: float,
        wait: float | None = None,
        arrived_at: float | None = None,
    ) -> tuple[Any, str]:
        """Return the message nearest to a stamp, after waiting for it to arrive.

        An image whose stamp is zero is matched by the time of its arrival.

        Args:
            stamp_ns: stamp of the colour image, nanoseconds.
            slop: maximum difference of the stamps, seconds.
            wait: maximum wait, seconds; ``slop`` if not given.
            arrived_at: time of the image's arrival on the monotonic clock, seconds; now if not given.

        Returns:
            (message, "") or (None, reason).
        """
        at = time.monotonic() if arrived_at is None else arrived_at
        timeout = max(slop if wait is None else wait, 0.001)
        with self._arrived:
            self._arrived.wait_for(lambda: self._has_come(stamp_ns, at), timeout)
            best = self._nearest(stamp_ns, at)
        if best is None:
            return None, f"no {self.noun} has come"
        if stamp_ns or best.stamp_ns:
            seconds = (best.stamp_ns - stamp_ns) / 1e9
            event, before, after = "is", "older", "newer"
        else:
            seconds = best.at - at
            event, before, after = "has no stamp and came", "earlier", "later"
        if abs(seconds) <= slop:
            return best.message, ""
        distance = f"{abs(seconds):.3f} s {before if seconds < 0 else after}"
        return None, f"the nearest {self.noun} {event} {distance} than the colour image"

    def _has_come(self, stamp_ns: int, at: float) -> bool:
        """True once no message can come that is nearer to an image."""
        if not stamp_ns:
            return any(one.at >= at for one in self._kept)
        newest = max((one.stamp_ns for one in self._kept), default=-1)
        return newest >= stamp_ns - SAME_STAMP * 1e9

    def _nearest(self, stamp_ns: int, at: float) -> _Arrival | None:
        kept = [*reversed(self._kept), *([self._reserved] if self._reserved else [])]
        return min(
            kept,
            key=lambda one: (abs(one.stamp_ns - stamp_ns), abs(one.at - at)),
            default=None,
        )


class InfoBuffer(StampedBuffer):
    """The last camera_info messages of one camera, which come with every image or only once."""

    def reserve(self, stamp_ns: int, arrived_at: float | None = None) -> None:
        """Keep the camera_info of an image until the next call."""
        with self._arrived:
            self._reserved = None  # that of the image before is not newer than the newest
            super().reserve(stamp_ns, arrived_at)

    def of_reserved(self) -> Any:
        """The camera_info of the image of :meth:`reserve`; else the newest before it; None before the first."""
        with self._arrived:
            return self._reserved.message if self._reserved else None

    def _nearest(self, stamp_ns: int, at: float) -> _Arrival | None:
        best = super()._nearest(stamp_ns, at)
        if best is None or abs(best.stamp_ns - stamp_ns) <= _INFO_SLOP_NS:
            return best
        return self._reserved or self._kept[-1]


class DepthBuffer(StampedBuffer):
    """The last depth images of one camera, and its camera_info.

    Attributes:
        infos: camera_info of the colour camera.
        depth_infos: camera_info of the depth camera, which may be absent.
    """

    def __init__(self) -> None:
        super().__init__("depth image")
        self.infos, self.depth_infos = InfoBuffer("camera_info"), InfoBuffer("camera_info")

    def clear(self) -> None:
        """Forget all depth images and camera_info."""
        super().clear()
        self.infos.clear()
        self.depth_infos.clear()

    def reserve(self, stamp_ns: int, arrived_at: float | None = None) -> None:
        """Keep the depth image nearest to a stamp, and its camera_info, until the next call."""
        for buffer in (self.infos, self.depth_infos):
            buffer.reserve(stamp_ns, arrived_at)
        super().reserve(stamp_ns, arrived_at)
