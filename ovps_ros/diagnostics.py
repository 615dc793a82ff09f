"""Diagnostics of the node: named faults with hints, counters and the current activity."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

OK, WARN, ERROR = (
    bytes([level]) if isinstance(level, int) else level
    for level in (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
)
_SHOWN = 5.0  # seconds for which a fault is shown after it was last reported
_MAX_LOGGED = 200  # maximum number of lines that faults may add to the log


class Fault(str, Enum):
    """Fault that the node can report; its value is the name in /diagnostics.

    Attributes:
        description: causes and consequences, for the reference page.
    """

    description: str

    IMAGE = "image", "encoding, size or data of an image cannot be read; the frame is dropped"
    STAMP = "stamp", "the stamp is zero, too old or in the future; the frame is dropped"
    QUERY = (
        "query",
        "phrases that cannot be answered, with the closest known words; see docs/query.md",
    )
    ENCODING = (
        "encoding",
        "an internal failure while encoding queries; the previous ones stay active",
    )
    CONFIGURE = (
        "configure",
        "the model is missing or damaged, or a parameter is invalid; the node stays unconfigured",
    )
    CLOCK = "clock", "use_sim_time is set and /clock stands still or is not sent"
    PUBLISHERS = "publishers", "two or more publishers on one input: their messages would be mixed"
    OBJECTS = "objects", "with object_model topic: no objects for an image; it has no parts"
    DEPTH = "depth", "depth is missing, unreadable or of another size; only ~/parts_3d is not sent"
    DEPTH_FRAME = (
        "depth frame",
        "depth of another frame than colour, which cannot be registered; ~/parts_3d is not sent",
    )
    DEPTH_RANGE = (
        "depth range",
        "parts outside of depth_range, or depth in another unit; they are left out of ~/parts_3d",
    )
    DEPTH_COVERAGE = "depth coverage", "parts with too little depth are left out of ~/parts_3d"
    CAMERA_INFO = (
        "camera_info",
        "missing, not calibrated, of another camera or size, or unclear whether for a raw or a rectified image; "
        "~/parts_3d is not sent",
    )
    TRANSFORM = "transform", "no transform at the image's stamp; ~/parts_3d is not sent"
    MEMORY = (
        "memory",
        "the device is out of memory; after three frames in a row the node deactivates",
    )
    FRAME = "frame", "any other failure with one frame; the node goes on with the next one"
    LIFECYCLE = "lifecycle", "an error in a transition; the node is unconfigured again, or inactive"

    def __new__(cls, name: str, description: str) -> Fault:
        """Make a member from its name and description."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.description = description
        return member

    def __str__(self) -> str:
        """Name in /diagnostics."""
        return str(self.value)


@dataclass(frozen=True)
class _Case:
    """Last report of a fault, as it is shown."""

    level: bytes
    message: str
    hint: str
    reported_at: float = field(default_factory=time.monotonic)

    @property
    def is_recent(self) -> bool:
        return time.monotonic() - self.reported_at < _SHOWN


@dataclass
class _Report:
    """Reports of a fault.

    Attributes:
        last: the last case.
        lasting: the last case that lasts until it is cleared.
        count: number of cases.
    """

    last: _Case
    lasting: _Case | None = None
    count: int = 0

    @property
    def shown(self) -> _Case:
        if self.last.is_recent:
            return self.last
        return self.lasting or _Case(OK, "not seen lately", self.last.hint)


class FaultReporter:
    """Faults with their counts; thread-safe.

    Args:
        log: function that logs a line at a level.
    """

    def __init__(self, log: Callable[[bytes, str], None]) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._reports: dict[tuple[Fault, str], _Report] = {}
        self._logged: set[tuple[Fault, str, str]] = set()

    def report(
        self,
        fault: Fault,
        level: bytes,
        message: str,
        hint: str = "",
        *,
        kind: str = "",
        camera: str = "",
        lasts: bool = False,
    ) -> None:
        """Count a fault; the first of each ``kind`` and camera is logged too.

        Args:
            fault: the fault.
            level: WARN or ERROR.
            message: description of this case.
            hint: advice on what to do.
            kind: case of the fault that deserves its own line in the log.
            camera: name of the camera that has it; "" if there is only one, or if it is of no camera.
            lasts: whether it is there until :meth:`clear`; others are OK again after some seconds.
        """
        case = _Case(level, message, hint)
        with self._lock:
            report = self._reports.setdefault((fault, camera), _Report(case))
            report.last = case
            report.lasting = case if lasts else report.lasting
            report.count += 1
            key = fault, camera, kind
            new = key not in self._logged and len(self._logged) < _MAX_LOGGED
            if new:
                self._logged.add(key)
        if new:
            name = _title(fault, camera)
            self._log(level, f"{name}: {message}" + (f" ({hint})" if hint else ""))

    def lasting(self, fault: Fault) -> str:
        """Message of a fault that lasts; "" if there is none."""
        with self._lock:
            report = self._reports.get((fault, ""))
            return report.lasting.message if report and report.lasting else ""

    def clear(self, fault: Fault) -> None:
        """Remove a fault whose cause is gone."""
        with self._lock:
            self._reports = {key: r for key, r in self._reports.items() if key[0] is not fault}
            self._logged = {entry for entry in self._logged if entry[0] is not fault}

    def statuses(self, prefix: str, hardware: str) -> list[DiagnosticStatus]:
        """Diagnostic of each fault; OK again if it does not last and was not reported for some seconds."""
        with self._lock:
            shown = [(*key, r.shown, r.count) for key, r in self._reports.items()]
        return [
            status(
                f"{prefix}: {_title(fault, camera)}",
                case.level,
                case.message,
                hardware,
                {"count": count, "hint": case.hint},
            )
            for fault, camera, case, count in shown
        ]


def _title(fault: Fault, camera: str) -> str:
    return f"{fault} {camera}" if camera else str(fault)


@dataclass
class Counters:
    """Numbers of frames of one camera since the node was configured.

    Attributes:
        received: images that arrived.
        answered: results that were published.
        dropped: images with an unusable stamp.
        latencies_ms: time from stamp to publication of the last results, milliseconds.
        answered_at: time of publication of the last results, seconds of the monotonic clock.
    """

    received: int = 0
    answered: int = 0
    dropped: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    answered_at: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    def record_result(self, latency_ms: float) -> None:
        """Count one published result."""
        self.answered += 1
        self.latencies_ms.append(latency_ms)
        self.answered_at.append(time.monotonic())

    def values(self) -> dict[str, str]:
        """Values for a diagnostic."""
        values = {name: str(getattr(self, name)) for name in ("received", "answered", "dropped")}
        recent = [moment for moment in list(self.answered_at) if time.monotonic() - moment < _SHOWN]
        values["rate Hz"] = f"{len(recent) / _SHOWN:.1f}"
        if self.latencies_ms:
            p50, p99 = np.percentile(list(self.latencies_ms), [50, 99])
            values["latency p50 ms"], values["latency p99 ms"] = f"{p50:.1f}", f"{p99:.1f}"
        return values


@dataclass(frozen=True)
class Activity:
    """Long-running step of configuring the node.

    Attributes:
        name: the step, such as "loading ovps-tiny".
        detail: progress within the step.
        started: start of the step, seconds of the monotonic clock.
    """

    name: str
    detail: str = ""
    started: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        """Step, progress and duration."""
        seconds = time.monotonic() - self.started
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.name}{detail}, {seconds:.0f} s so far"


class PeriodicCall(threading.Thread):
    """Thread that calls a function periodically while the ``with`` block runs.

    Args:
        seconds: between two calls.
        call: the function.
    """

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        super().__init__(name="ovps diagnostics", daemon=True)
        self._seconds, self._call = seconds, call
        self._ended = threading.Event()

    def run(self) -> None:
        """Call until the block ends."""
        while not self._ended.wait(self._seconds):
            self._call()

    def __enter__(self) -> PeriodicCall:
        """Start the thread."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread."""
        self._ended.set()
        self.join()


def status(
    name: str, level: bytes, message: str, hardware: str, values: dict[str, Any]
) -> DiagnosticStatus:
    """Make a diagnostic."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(
        name=name, level=level, message=message, hardware_id=hardware, values=pairs
    )
