"""One camera of the node: its subscriptions, depth buffer, tracker, publishers and counters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovps_core.pipeline.tracking import Tracker
from ovps_core.ros_io.codec import nanoseconds
from ovps_ros.depth_sync import DepthBuffer
from ovps_ros.diagnostics import OK, WARN, Counters, Fault, FaultReporter, why_no_image
from ovps_ros.frame_result import FrameResult
from ovps_ros.latest_frames import Frame, LatestFrames
from ovps_ros.parameters import Settings
from ovps_ros.publishers import FramePublishers

_SILENCE = 2.0  # seconds without an image before the diagnostics warn
_MAX_FUTURE = 0.1  # seconds by which a stamp may be ahead of the node's clock
_RATE_MARGIN = 0.9  # share of the period of max_rate after which the next image is taken


class CameraStream:
    """Everything that belongs to one camera; it is subscribed while the node is active.

    Args:
        node: the node.
        name: name of the camera; "" if there is only one.
        frames: store for new frames.
        faults: reporter for dropped frames.
        settings: function that returns the current settings.

    Attributes:
        name: name of the camera.
        counters: numbers of frames.
        depth: depth images; None without the parameter use_depth.
        tracker: tracker of this camera's parts.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        frames: LatestFrames,
        faults: FaultReporter,
        settings: Callable[[], Settings],
    ) -> None:
        use_depth = settings().use_depth
        self.name = name
        self.counters = Counters()
        self.depth: DepthBuffer | None = DepthBuffer() if use_depth else None
        self.tracker = Tracker()
        self._publishers = FramePublishers(node, name, use_depth)
        self._node, self._frames, self._faults, self._settings = node, frames, faults, settings
        self._subscriptions: list[Any] = []
        self._received_at = 0.0
        self._taken_at = 0.0

    def subscribe(self) -> None:
        """Start receiving images."""
        self._received_at = time.monotonic()
        base = f"{self.name}/" if self.name else ""
        topic, message_type = self._node.resolve_topic_name(f"{base}image"), Image
        if self._settings().image_transport == "compressed":
            topic, message_type = f"{topic}/compressed", CompressedImage
        self._subscriptions = [self._subscribe(message_type, topic, self._on_image)]
        if self.depth is not None:
            self._subscriptions += [
                self._subscribe(Image, f"{base}depth", self.depth.put, depth=5),
                self._subscribe(CameraInfo, f"{base}camera_info", self.depth.put_info),
            ]

    def unsubscribe(self) -> None:
        """Stop receiving images."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def publish(self, result: FrameResult, settings: Settings) -> None:
        """Publish a result and count it."""
        latency_ns = self._publishers.publish(result, settings.overlay_alpha)
        self.counters.record_result(latency_ns / 1e6)
        if result.in_3d is not None:
            self._publishers.publish_3d(result.in_3d, result)

    def destroy(self) -> None:
        """Remove subscriptions and publishers."""
        self.unsubscribe()
        self._publishers.destroy()

    def state(self) -> tuple[bytes, str, dict[str, str]]:
        """(level, message, values) of the ``images`` diagnostic."""
        values = self.counters.values()
        if not self._subscriptions:
            return OK, "not active", values
        silence = time.monotonic() - self._received_at
        if silence < _SILENCE:
            return OK, "receiving images", values
        images = self._subscriptions[0]
        reliability = images.qos_profile.reliability.name
        message, values["hint"] = why_no_image(self._node, images.topic_name, reliability)
        return WARN, f"no image for {silence:.0f} s: {message}", values

    def _subscribe(
        self, message_type: type, topic: str, callback: Callable[[Any], None], depth: int = 1
    ) -> Any:
        return self._node.create_subscription(
            message_type,
            topic,
            callback,
            QoSProfile(
                history=HistoryPolicy.KEEP_LAST,
                depth=depth,
                reliability=ReliabilityPolicy.BEST_EFFORT,
            ),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._received_at = time.monotonic()
        self.counters.received += 1
        settings = self._settings()
        if settings.max_rate:
            period = _RATE_MARGIN / settings.max_rate
            if self._received_at - self._taken_at < period:
                return
        problem = self._stamp_problem(nanoseconds(message.header.stamp), settings.max_age)
        if problem is not None:
            self.counters.dropped += 1
            kind, text = problem
            self._faults.report(
                Fault.STAMP,
                WARN,
                text,
                "played bags need use_sim_time and `ros2 bag play --clock`; cameras on other machines "
                "need a common clock (chrony, PTP); max_age 0 accepts every stamp",
                kind=kind,
            )
            return
        self._taken_at = self._received_at
        self._frames.put(Frame(self.name, message))

    def _stamp_problem(self, stamp_ns: int, max_age: float) -> tuple[str, str] | None:
        """(kind, message) for an unusable stamp; None for a good one."""
        if not max_age:
            return None
        if not stamp_ns:
            return "zero", "the image's stamp is zero: its driver does not fill the header"
        age = (self._node.get_clock().now().nanoseconds - stamp_ns) / 1e9
        if age > max_age:
            return "old", f"the image is {age:.3f} s old; max_age is {max_age}"
        if age < -_MAX_FUTURE:
            return "future", f"the image's stamp is {-age:.3f} s in the future"
        return None
