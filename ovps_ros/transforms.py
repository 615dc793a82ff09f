"""TF, where tf2_ros is installed: parts into another frame, and a frame for every part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from ovps_core.errors import OvpsError
from ovps_core.pipeline.pose import Part3D


class TransformError(OvpsError, LookupError):
    """TF is not installed, or has no transform at an image's stamp."""


class Transforms:
    """Looks up and sends frames.

    Args:
        node: that listens and sends.
        target: frame that parts are put into; "" leaves them in the optical frame.

    Raises:
        TransformError: tf2_ros is not installed.
    """

    def __init__(self, node: Node, target: str) -> None:
        try:
            import tf2_ros
        except ImportError as error:
            raise TransformError(
                "target_frame and publish_tf need tf2_ros: install ros-$ROS_DISTRO-tf2-ros-py"
            ) from error
        self._target = target
        self._errors = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)
        self._broadcaster = tf2_ros.TransformBroadcaster(node)

    def place(
        self, header: Header, parts: tuple[Part3D, ...], timeout: float
    ) -> tuple[Header, tuple[Part3D, ...]]:
        """Parts in the target frame at the image's stamp.

        Raises:
            TransformError: there is no transform at that stamp.
        """
        if not self._target:
            return header, parts
        try:
            found = self._buffer.lookup_transform(
                self._target,
                header.frame_id,
                Time.from_msg(header.stamp),
                Duration(seconds=timeout),
            ).transform
        except self._errors as error:
            raise TransformError(f"{header.frame_id} to {self._target}: {error}") from error
        q, t = found.rotation, found.translation
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
        matrix[:3, 3] = t.x, t.y, t.z
        moved = tuple(replace(part, pose=matrix @ part.pose) for part in parts)
        return Header(stamp=header.stamp, frame_id=self._target), moved

    def send(self, header: Header, parts: tuple[Part3D, ...], prefix: str, camera: str) -> None:
        """A frame for every part, see :func:`frame_name`."""
        for part in parts:
            message = TransformStamped(
                header=header, child_frame_id=frame_name(prefix, camera, part)
            )
            position, rotation = part.position, part.quaternion
            for axis, value in zip("xyz", position, strict=True):
                setattr(message.transform.translation, axis, float(value))
            for axis, value in zip("xyzw", rotation, strict=True):
                setattr(message.transform.rotation, axis, float(value))
            self._broadcaster.sendTransform(message)


def frame_name(prefix: str, camera: str, part: Part3D) -> str:
    """Prefix, camera where there are several, part, number of the track: ``part/left/knife_handle_3``.

    Every camera counts its own tracks: without its name two cameras would move one frame.
    """
    words = "_".join([*part.query.text.lower().split(), str(part.track_id or part.id)])
    return prefix + (f"{camera}/" if camera else "") + words
