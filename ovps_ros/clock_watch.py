"""Watch over simulated time: a clock that stands would make every stamp look wrong."""

from __future__ import annotations

import time

from rclpy.node import Node

from ovps_ros.diagnostics import WARN, Fault, FaultReporter

_STANDS = 2.5  # seconds without progress of the clock


class ClockWatch:
    """Watch over the clock of a node; it reports a fault while the node waits for /clock.

    Args:
        node: the node.
        faults: reporter.
    """

    def __init__(self, node: Node, faults: FaultReporter) -> None:
        self._node, self._faults = node, faults
        self._last_ns = -1
        self._changed_at = self._checked_at = time.monotonic()

    def check(self, *, is_busy: bool = False) -> None:
        """Look at the clock; call it about once per second.

        Args:
            is_busy: the node's executor is busy, so that /clock is not heard.
        """
        now_ns, now = self._node.get_clock().now().nanoseconds, time.monotonic()
        was_busy = now - self._checked_at >= _STANDS  # nor could this be called
        self._checked_at = now
        if now_ns != self._last_ns or is_busy or was_busy:
            self._last_ns, self._changed_at = now_ns, now
        standing = now - self._changed_at
        if standing < _STANDS or not self._node.get_parameter("use_sim_time").value:
            return
        if self._node.count_publishers("/clock"):
            message = f"/clock stands at {now_ns / 1e9:.3f} s for {standing:.0f} s"
            hint = "continue the simulation or the recording"
        else:
            message = "use_sim_time is set, but nobody publishes /clock: the node's time stands"
            hint = (
                "start the simulator, play the recording with `ros2 bag play --clock 100`, or set "
                "use_sim_time to false"
            )
        self._faults.report(Fault.CLOCK, WARN, message, hint)
