"""Stand-in for tf2_ros, which has no wheels: the same endpoints, and one transform that is the identity.

It is put on the path of a node only where the real package is absent. /tf carries TransformStamped, since tf2_msgs
has no wheels either.
"""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import TransformStamped


class TransformException(Exception):  # noqa: N818
    """Base of the errors of TF."""


class Buffer:
    """Buffer in which frames named ``camera...`` and ``base...`` lie in one place; others are unknown."""

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Any, timeout: Any
    ) -> TransformStamped:
        for frame in (target_frame, source_frame):
            if not frame.startswith(("camera", "base")):
                raise TransformException(f"{frame!r} does not exist")
        return TransformStamped()


class TransformListener:
    """Subscriptions of /tf and /tf_static."""

    def __init__(self, buffer: Buffer, node: Any) -> None:
        self._node = node
        self._subscriptions = [
            node.create_subscription(TransformStamped, topic, lambda message: None, 100)
            for topic in ("/tf", "/tf_static")
        ]

    def unregister(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


class TransformBroadcaster:
    """Publisher of /tf."""

    def __init__(self, node: Any) -> None:
        self.pub_tf = node.create_publisher(TransformStamped, "/tf", 100)

    def sendTransform(self, transforms: list[TransformStamped]) -> None:  # noqa: N802
        for transform in transforms:
            self.pub_tf.publish(transform)
