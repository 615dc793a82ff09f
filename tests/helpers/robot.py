"""Robot for tests: a node in the test process that communicates with the node under test over DDS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: pip install '.[ros]' or a sourced installation")
pytest.importorskip("ovps_ros.msg", reason="needs the messages: pip install --no-build-isolation .")

from ovps_ros.tools.processes import isolate_ros_domain

isolate_ros_domain()

import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from ovps_ros.action import FindParts  # noqa: E402
from ovps_ros.msg import PartMasks, PartQuery  # noqa: E402
from ovps_ros.srv import SetQueries  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.action.client import ClientGoalHandle  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import QoSProfile, qos_profile_sensor_data  # noqa: E402
from rclpy.task import Future  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from std_msgs.msg import Header, String  # noqa: E402

from ovps_ros.messages import message_encoder  # noqa: E402

PATIENCE = 20.0  # seconds; machines that test are busy
NODE_STARTS = 150.0
LOST = 6.0  # seconds after which a service's answer will not come


class Robot:
    """Client of the node: publishes images and queries, collects masks."""

    def __init__(self, name: str = "robot") -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.images = self.node.create_publisher(Image, "image", qos_profile_sensor_data)
        self.depths = self.node.create_publisher(Image, "depth", qos_profile_sensor_data)
        self.infos = self.node.create_publisher(CameraInfo, "camera_info", 1)
        self.query = self.node.create_publisher(String, "/ovps/query", 10)
        self.set_queries = self.node.create_client(SetQueries, "/ovps/set_queries")
        self.masks = self.listen(PartMasks, "/ovps/masks")
        self.diagnostics = self.listen(DiagnosticArray, "/diagnostics")
        self._actions: dict[str, ActionClient] = {}

    def listen(self, kind: type, topic: str, qos: QoSProfile | int = 10) -> list[Any]:
        """A list that grows with every message."""
        heard: list[Any] = []
        self.node.create_subscription(kind, topic, heard.append, qos)
        return heard

    def spin_until(self, true: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Let messages flow until ``true()``; returns its value, fails the test after ``patience``."""
        end = time.monotonic() + patience
        while not (value := true()):
            if time.monotonic() > end:
                pytest.fail(f"waited {patience} s in vain; last diagnostics: {self.faults()}")
            self.executor.spin_once(timeout_sec=0.05)
        return value

    def rest(self, seconds: float) -> None:
        """Let messages flow for a time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def header(self, offset: float = 0.0) -> Header:
        """Now, in a camera's optical frame."""
        now = self.node.get_clock().now().nanoseconds + round(offset * 1e9)
        header = Header(frame_id="camera_color_optical_frame")
        header.stamp.sec, header.stamp.nanosec = divmod(now, 1_000_000_000)
        return header

    def show(self, rgb: np.ndarray, depth: np.ndarray | None = None) -> Header:
        """Publish one picture; returns its header."""
        header = self.header()
        if depth is not None:
            info = CameraInfo(header=header, width=rgb.shape[1], height=rgb.shape[0])
            info.k = [600.0, 0, rgb.shape[1] / 2, 0, 600.0, rgb.shape[0] / 2, 0, 0, 1.0]
            self.infos.publish(info)
            self.depths.publish(message_encoder.image(depth, header))
        self.images.publish(message_encoder.image(rgb, header))
        return header

    def answer(
        self, rgb: np.ndarray, depth: np.ndarray | None = None, patience: float = PATIENCE
    ) -> PartMasks:
        """Show pictures until one is answered; returns that answer."""
        return self._show_until(lambda _: True, rgb, depth, patience)

    def answer_to(self, rgb: np.ndarray, *texts: str) -> PartMasks:
        """Show pictures until one is answered for just these words: a goal's take a moment to be read."""
        return self._show_until(lambda masks: {q.text for q in masks.queries} == {*texts}, rgb)

    def _show_until(
        self,
        right: Callable[[PartMasks], bool],
        rgb: np.ndarray,
        depth: np.ndarray | None = None,
        patience: float = PATIENCE,
    ) -> PartMasks:
        self.masks.clear()
        shown: list[Header] = []
        end = time.monotonic() + patience
        while time.monotonic() < end:
            shown.append(self.show(rgb, depth))
            self.rest(0.15)
            for masks in self.masks:
                if masks.header in shown and right(masks):
                    return masks
        asked = [[q.text for q in masks.queries] for masks in self.masks]
        pytest.fail(f"no answer in {patience} s; came: {asked}; diagnostics: {self.faults()}")

    def ask(self, *texts: str, append: bool = False) -> SetQueries.Response:
        """Set the queries by service."""
        request = SetQueries.Request(queries=[PartQuery(text=t) for t in texts], append=append)
        return self.call(self.set_queries, request)

    def call(self, client: Any, request: Any, patience: float = PATIENCE) -> Any:
        """A service's answer, asked for again where it is lost: the server may find its client too late."""
        assert client.wait_for_service(patience)
        futures = [client.call_async(request)]
        next_try = time.monotonic() + LOST

        def answered() -> Any:
            nonlocal next_try
            if time.monotonic() > next_try:
                futures.append(client.call_async(request))
                next_try += LOST
            return next((future for future in futures if future.done()), None)

        return self.spin_until(answered, patience).result()

    def begin(
        self, *queries: str | PartQuery, node: str = "/ovps", seconds: int = 0, **wanted: Any
    ) -> tuple[ClientGoalHandle, Future]:
        """Send a goal of ``find_parts``; returns its handle and its result to come. 0 seconds set no end."""
        action = f"{node}/find_parts"
        if action not in self._actions:
            self._actions[action] = ActionClient(self.node, FindParts, action)
        assert self._actions[action].wait_for_server(NODE_STARTS)
        asked = [PartQuery(text=q) if isinstance(q, str) else q for q in queries]
        goal = FindParts.Goal(queries=asked, **wanted)
        goal.timeout.sec = seconds
        sent = self._actions[action].send_goal_async(goal)
        handle = self.spin_until(lambda: sent.done() and sent.result())
        return handle, handle.get_result_async()

    def find(
        self,
        *queries: str | PartQuery,
        rgb: np.ndarray | None = None,
        depth: np.ndarray | None = None,
        node: str = "/ovps",
        seconds: int = 15,
        **wanted: Any,
    ) -> FindParts.Result:
        """The result of a goal, while a picture is shown if one is given."""
        _, result = self.begin(*queries, node=node, seconds=seconds, **wanted)

        def ended() -> bool:
            if rgb is not None:
                self.show(rgb, depth)
            self.rest(0.1)
            return result.done()

        self.spin_until(ended, seconds + PATIENCE)
        return result.result().result

    def say(self, text: str) -> None:
        """Set the queries by topic, as `ros2 topic pub --once` does: when someone listens."""
        self.spin_until(lambda: self.query.get_subscription_count())
        self.query.publish(String(data=text))

    def faults(self) -> dict[str, tuple[bytes, str, dict[str, str]]]:
        """The last diagnostics by name; two nodes may send them."""
        return {
            s.name: (s.level, s.message, {v.key: v.value for v in s.values})
            for array in self.diagnostics[-4:]
            for s in array.status
        }

    def fault(self, name: str, words: str, hint: str = "") -> dict[str, str]:
        """Wait until a diagnostic that is not OK says ``words`` and ``hint``; returns its values."""

        def said() -> dict[str, str] | None:
            level, message, values = self.faults().get(f"ovps: {name}", (b"\0", "", {}))
            right = level != b"\0" and words in message and hint in values.get("hint", "")
            return values if right else None

        return self.spin_until(said)

    def close(self) -> None:
        """Leave the graph."""
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
