"""The inputs of one camera: subscriptions, and the checks that cost nothing before a frame is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovps_ros.depth_sync import DepthBuffer
from ovps_ros.diagnostics import OK, WARN, Counters, FaultReporter, why_no_image
from ovps_ros.latest_frames import Frame, LatestFrames
from ovps_ros.messages import nanoseconds
from ovps_ros.parameters import Settings

SILENCE = 2.0  # seconds without an image before a person is told
_FUTURE = 0.1  # seconds by which a stamp may be ahead of our clock


def _newest(depth: int) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT
    )


class Camera:
    """Subscribed while the node is active.

    Args:
        node: that listens.
        name: of the camera; "" where there is only one.
        slot: where new frames go.
        faults: told of dropped frames.
        settings: gives the present settings.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        slot: LatestFrames,
        faults: FaultReporter,
        settings: Callable[[], Settings],
    ) -> None:
        self.name = name
        self.counters = Counters()
        self.depth: DepthBuffer | None = DepthBuffer() if settings().use_depth else None
        self._node, self._slot, self._faults, self._settings = node, slot, faults, settings
        self._subscriptions: list[Any] = []
        self._heard = 0.0
        self._taken = 0.0

    def subscribe(self) -> None:
        """Start listening."""
        self._heard = time.monotonic()
        base = f"{self.name}/" if self.name else ""
        topic, kind = self._node.resolve_topic_name(f"{base}image"), Image
        if self._settings().image_transport == "compressed":
            topic, kind = f"{topic}/compressed", CompressedImage
        self._subscriptions = [self._listen(kind, topic, self._on_image)]
        if self.depth is not None:
            self._subscriptions += [
                self._listen(Image, f"{base}depth", self.depth.put, kept=5),
                self._listen(CameraInfo, f"{base}camera_info", self.depth.put_info),
            ]

    def unsubscribe(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def watch(self) -> tuple[bytes, str, dict[str, str]]:
        """(level, message, values) for the diagnostics."""
        values = self.counters.values()
        if not self._subscriptions:
            return OK, "not active", values
        silent = time.monotonic() - self._heard
        if silent < SILENCE:
            return OK, "images come", values
        image = self._subscriptions[0]
        asked = image.qos_profile.reliability.name
        message, values["hint"] = why_no_image(self._node, image.topic_name, asked)
        return WARN, f"no image for {silent:.0f} s: {message}", values

    def _listen(
        self, kind: type, topic: str, callback: Callable[[Any], None], kept: int = 1
    ) -> Any:
        return self._node.create_subscription(
            kind,
            topic,
            callback,
            _newest(kept),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._heard = time.monotonic()
        self.counters.received += 1
        settings = self._settings()
        if settings.max_rate and self._heard - self._taken < 0.9 / settings.max_rate:
            return
        wrong = self._wrong_stamp(nanoseconds(message.header.stamp), settings.max_age)
        if wrong:
            self.counters.dropped += 1
            kind, text = wrong
            self._faults.report(
                "stamp",
                WARN,
                text,
                "played bags need use_sim_time and `ros2 bag play --clock`; cameras on other machines "
                "need a common clock (chrony, PTP); max_age 0 takes every stamp",
                kind=kind,
            )
            return
        self._taken = self._heard
        self._slot.put(Frame(self.name, message))

    def _wrong_stamp(self, stamp: int, max_age: float) -> tuple[str, str] | None:
        """(kind, words) of what is wrong with a stamp."""
        if not max_age:
            return None
        if not stamp:
            return "zero", "the image's stamp is zero: its driver does not fill the header"
        age = (self._node.get_clock().now().nanoseconds - stamp) / 1e9
        if age > max_age:
            return "old", f"the image is {age:.3f} s old; max_age is {max_age}"
        if age < -_FUTURE:
            return "future", f"the image's stamp is {-age:.3f} s in the future"
        return None
