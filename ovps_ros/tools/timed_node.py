"""The node, which also sends where the time of each image went; ``ovps bench ros`` starts it."""

from __future__ import annotations

import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from ovps_ros.diagnostics import OK, status
from ovps_ros.frame_result import FrameResult
from ovps_ros.node import OvpsNode, autostart
from ovps_ros.parameters import Settings
from ovps_ros.run_node import run_node

TIMES = "/ovps/times"
"""Topic of the times of each image, with the image's stamp."""
MODEL, NODE = "model ms", "node ms"
"""Names of the time that the model took, and of that from the image's arrival to its published results."""


class TimedNode(OvpsNode):
    """The node; the times of an image are sent after its results."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._times = self.create_publisher(DiagnosticArray, TIMES, 10)

    def _publish(self, result: FrameResult, settings: Settings) -> None:
        super()._publish(result, settings)
        node_ms = 1e3 * (time.monotonic() - result.arrived_at)
        values = {MODEL: 1e3 * result.model_s, NODE: node_ms}
        message = DiagnosticArray(header=result.header)
        message.status = [status("times", OK, "", "", values)]
        self._times.publish(message)


def main() -> None:
    """Run the node until it is interrupted."""
    sys.exit(run_node("ovps", "ovps_ros.tools.timed_node", TimedNode, autostart))


if __name__ == "__main__":
    main()
