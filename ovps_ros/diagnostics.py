"""What is wrong, by name, in words for the person who must act: collected by the node, sent once a second."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.node import Node

OK, WARN, ERROR = (
    bytes([level]) if isinstance(level, int) else level
    for level in (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
)
_REMEMBER = 5.0  # seconds for which a fault is shown after it was last seen
_LOGGED = 200  # most lines that faults may add to the log


@dataclass
class _Fault:
    level: bytes
    message: str
    hint: str
    seen: float
    count: int = 0


@dataclass
class Counters:
    """What passed through one camera since it was activated."""

    received: int = 0
    answered: int = 0
    dropped: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    answered_at: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    def answer(self, latency_ms: float) -> None:
        """Count one published result."""
        self.answered += 1
        self.latencies_ms.append(latency_ms)
        self.answered_at.append(time.monotonic())

    def values(self) -> dict[str, str]:
        """For a diagnostic."""
        said = {name: str(getattr(self, name)) for name in ("received", "answered", "dropped")}
        times = [moment for moment in self.answered_at if time.monotonic() - moment < _REMEMBER]
        said["rate Hz"] = f"{len(times) / _REMEMBER:.1f}"
        if self.latencies_ms:
            p50, p99 = np.percentile(list(self.latencies_ms), [50, 99])
            said["latency p50 ms"], said["latency p99 ms"] = f"{p50:.1f}", f"{p99:.1f}"
        return said


class FaultReporter:
    """Named faults with counts; may be told from any thread."""

    def __init__(self, log: Callable[[bytes, str], None]) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._faults: dict[str, _Fault] = {}
        self._logged: set[tuple[str, str]] = set()

    def report(
        self, name: str, level: bytes, message: str, hint: str = "", *, kind: str = ""
    ) -> None:
        """Count a fault; the first of each ``kind`` is logged too."""
        with self._lock:
            fault = self._faults.setdefault(name, _Fault(level, message, hint, 0.0))
            fault.level, fault.message, fault.hint = level, message, hint
            fault.seen = time.monotonic()
            fault.count += 1
            new = (name, kind) not in self._logged and len(self._logged) < _LOGGED
            if new:
                self._logged.add((name, kind))
        if new:
            self._log(level, f"{name}: {message}" + (f" ({hint})" if hint else ""))

    def clear(self, name: str) -> None:
        """The fault is repaired."""
        with self._lock:
            self._faults.pop(name, None)
            self._logged = {entry for entry in self._logged if entry[0] != name}

    def statuses(self, prefix: str, hardware: str) -> list[DiagnosticStatus]:
        """One status a fault; OK again when it has not been seen for some seconds."""
        now = time.monotonic()
        with self._lock:
            return [
                status(
                    f"{prefix}: {name}",
                    fault.level if now - fault.seen < _REMEMBER else OK,
                    fault.message if now - fault.seen < _REMEMBER else "not seen lately",
                    hardware,
                    {"count": fault.count, "hint": fault.hint},
                )
                for name, fault in self._faults.items()
            ]


class PeriodicCall(threading.Thread):
    """Calls again and again while the ``with`` block runs.

    Args:
        seconds: between two calls.
        call: what to call.
    """

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        super().__init__(name="ovps diagnostics", daemon=True)
        self._seconds, self._call = seconds, call
        self._ended = threading.Event()

    def run(self) -> None:
        """Until the block ends."""
        while not self._ended.wait(self._seconds):
            self._call()

    def __enter__(self) -> PeriodicCall:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def status(
    name: str, level: bytes, message: str, hardware: str, values: dict[str, Any]
) -> DiagnosticStatus:
    """One diagnostic."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(
        name=name, level=level, message=message, hardware_id=hardware, values=pairs
    )


def why_no_image(node: Node, topic: str, asked: str) -> tuple[str, str]:
    """(what is the matter, what to do) when nothing arrives on ``topic``."""
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return (
            f"no publisher on {topic}",
            "start the camera, or remap: --ros-args -r image:=/camera/color/image_raw",
        )
    offers = sorted({info.qos_profile.reliability.name for info in publishers})
    types = sorted({info.topic_type for info in publishers})
    message = f"{len(publishers)} publisher(s) on {topic} offer {types} {', '.join(offers)}; asked {asked}"
    if asked == "RELIABLE" and "BEST_EFFORT" in offers:
        return message, f"set qos_overrides.{topic}.subscription.reliability to best_effort"
    return (
        message,
        "large images over best effort need the Fast DDS profile of this package: set "
        "FASTRTPS_DEFAULT_PROFILES_FILE (from Kilted on FASTDDS_DEFAULT_PROFILES_FILE) to config/fastdds.xml for "
        "camera and node",
    )
