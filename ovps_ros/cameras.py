"""One camera of the node: its subscriptions, depth buffer, tracker, publishers and counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovps_core.pipeline.tracking import Tracker
from ovps_core.ros_io.codec import nanoseconds
from ovps_core.structures.query import PartQuery
from ovps_ros.depth_sync import DepthBuffer, StampedBuffer
from ovps_ros.diagnostics import OK, WARN, Counters, Fault, FaultReporter
from ovps_ros.frame_result import FrameResult
from ovps_ros.latest_frames import Frame, LatestFrames
from ovps_ros.middleware import explain_silence, several_publishers
from ovps_ros.msg import PartMasks
from ovps_ros.parameters import OBJECTS_OF_TOPIC, Settings
from ovps_ros.publishers import FramePublishers
from ovps_ros.standard_topics import StandardPublishers

_SILENCE = 2.0  # seconds without an image before diagnostics and log warn
_MAX_FUTURE = 0.1  # seconds by which a stamp may be ahead of the node's clock
# Share of the period of max_rate by which an image may be early; the mean keeps max_rate.
_RATE_JITTER = 0.1


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
        objects: objects that another node finds; None unless the parameter object_model is topic.
        tracker: tracker of this camera's parts.
        received_at: time of the last image on the monotonic clock, seconds.
        usable_at: time of the last image with a usable stamp.
        image_topic: full name of the topic of colour images, with remaps.
        depth_topic: full name of the topic of depth images.
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
        self.objects: StampedBuffer | None = None
        if settings().object_model == OBJECTS_OF_TOPIC:
            self.objects = StampedBuffer("message with objects")
        self.tracker = Tracker()
        self._publishers = FramePublishers(node, name, use_depth)
        base = f"~/{name}/" if name else "~/"
        self._standard = StandardPublishers(node, base, use_depth)
        self._node, self._frames, self._faults, self._settings = node, frames, faults, settings
        self._base = f"{name}/" if name else ""
        self.image_topic, self.depth_topic = (self._resolve(role) for role in ("image", "depth"))
        self._subscriptions: dict[str, Any] = {}
        self._latched: dict[str, Any] = {}
        self.received_at = self.usable_at = 0.0
        self._due_at = 0.0
        self._silence_logged = False

    def subscribe(self) -> None:
        """Start receiving images."""
        self.received_at, self._silence_logged = time.monotonic(), False
        self.tracker.forget()
        for buffer in filter(None, (self.depth, self.objects)):
            buffer.clear()  # of the time before the node was inactive
        settings = self._settings()
        compressed = settings.image_transport == "compressed"
        self._subscribe("image", self.image_topic, self._on_image, 1, compressed)
        if self.objects is not None:
            self._subscribe("objects", self._resolve("objects"), self.objects.put, 5, False)
        if self.depth is None:
            return
        compressed = settings.depth_transport == "compressedDepth"
        self._subscribe("depth", self.depth_topic, self.depth.put, 5, compressed)
        for role, callback in self._info_callbacks(self.depth).items():
            self._subscribe(role, self._resolve(role), callback, 1, False)

    @staticmethod
    def _info_callbacks(depth: DepthBuffer) -> dict[str, Callable[[CameraInfo], None]]:
        return {"camera_info": depth.infos.put, "depth_camera_info": depth.depth_infos.put}

    def unsubscribe(self) -> None:
        """Stop receiving images."""
        for subscription in (*self._subscriptions.values(), *self._latched.values()):
            self._node.destroy_subscription(subscription)
        self._subscriptions, self._latched = {}, {}

    def explain_silence(self, role: str) -> tuple[str, str]:
        """(cause, advice) for an input without messages.

        Args:
            role: name of the input: "image", "depth", "objects" or "camera_info".
        """
        subscription = self._subscriptions.get(role)
        if subscription is None:  # deactivated meanwhile
            return "not subscribed", ""
        return explain_silence(self._node, subscription, self._base + role)

    def show_queries(self, queries: Sequence[PartQuery]) -> None:
        """Make the topics of the active queries; call it in the executor."""
        self._standard.show_queries(queries)

    def publish(self, result: FrameResult, settings: Settings) -> None:
        """Publish a result and count it."""
        latency_ns = self._publishers.publish(result, settings.overlay_alpha)
        self.counters.record_result(latency_ns / 1e6)
        self._standard.publish(result, settings.score_threshold)
        if result.in_3d is not None:
            self._publishers.publish_3d(result.in_3d, result)
            self._standard.publish_3d(result.in_3d, result.masks)

    def destroy(self) -> None:
        """Remove subscriptions and publishers."""
        self.unsubscribe()
        self._publishers.destroy()
        self._standard.destroy()

    def state(self) -> tuple[bytes, str, dict[str, str]]:
        """(level, message, values) of the ``images`` diagnostic."""
        values = self.counters.values()
        if not self._subscriptions:
            return OK, "not active", values
        silence = time.monotonic() - self.received_at
        if silence < _SILENCE:
            return OK, "receiving images", values
        cause, values["hint"] = self.explain_silence("image")
        message = f"no image for {silence:.0f} s: {cause}"
        if not self._silence_logged:  # once for each silence, since many look at the console only
            self._silence_logged = True
            self._node.get_logger().warning(f"{self._base}image: {message}. {values['hint']}")
        return WARN, message, values

    def check_publishers(self) -> None:
        """Report inputs that two or more publishers send to."""
        for role, subscription in self._subscriptions.items():
            names = several_publishers(self._node, subscription.topic_name)
            if names:
                topic = subscription.topic_name
                self._faults.report(
                    Fault.PUBLISHERS,
                    WARN,
                    f"{len(names)} publishers on {topic}: {', '.join(names)}; expected one",
                    f"stop one of them, or remap {self._base}{role} to the topic of one camera",
                    kind=topic,
                    camera=self.name,
                )

    def _resolve(self, role: str) -> str:
        return str(self._node.resolve_topic_name(self._base + role))

    def _subscribe(
        self, role: str, topic: str, callback: Callable[[Any], None], depth: int, compressed: bool
    ) -> None:
        message_type: type = CameraInfo if role.endswith("info") else Image
        if role == "objects":
            message_type = PartMasks
        if compressed:
            message_type = CompressedImage
            topic += "/compressed" if role == "image" else "/compressedDepth"
        self._subscriptions[role] = self._node.create_subscription(
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

    def subscribe_latched(self) -> None:
        """Subscribe to camera_info that a driver sent once and latched; call it every now and then.

        A latched message reaches only a subscription that asks for it. To ask a driver for it that does not latch
        would make both sides warn of incompatible settings.
        """
        if self.depth is None or not self._subscriptions:
            return
        for role, callback in self._info_callbacks(self.depth).items():
            topic = self._resolve(role)
            publishers = self._node.get_publishers_info_by_topic(topic)
            offered = [info.qos_profile.durability for info in publishers]
            if role not in self._latched and DurabilityPolicy.TRANSIENT_LOCAL in offered:
                self._latched[role] = self._node.create_subscription(
                    CameraInfo,
                    topic,
                    callback,
                    QoSProfile(
                        history=HistoryPolicy.KEEP_LAST,
                        depth=1,
                        reliability=ReliabilityPolicy.RELIABLE,
                        durability=DurabilityPolicy.TRANSIENT_LOCAL,
                    ),
                )

    def _on_image(self, message: Image | CompressedImage) -> None:
        self.received_at, self._silence_logged = time.monotonic(), False
        self.counters.received += 1
        settings = self._settings()
        if settings.max_rate:
            period = 1 / settings.max_rate
            if self.received_at < self._due_at - _RATE_JITTER * period:
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
                camera=self.name,
            )
            return
        if settings.max_rate:
            self._due_at = max(self._due_at, self.received_at - period) + period
        self.usable_at = self.received_at
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
