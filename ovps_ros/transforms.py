"""TF of parts, if tf2_ros is installed: poses in another frame, and a TF frame for every part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from ovps_core.errors import MissingDependencyError, OvpsError
from ovps_core.structures.part3d import Part3D


class TransformError(OvpsError, LookupError):
    """TF has no transform at an image's stamp."""


class TargetFrame:
    """Frame in which poses of parts are published.

    Args:
        node: node that listens to TF.
        frame_id: name of the frame.

    Raises:
        MissingDependencyError: tf2_ros is not installed.
    """

    def __init__(self, node: Node, frame_id: str) -> None:
        tf2_ros = _tf2_ros("target_frame")
        self._frame_id = frame_id
        self._errors = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def transform(
        self, header: Header, parts: Sequence[Part3D], timeout: float
    ) -> tuple[Header, tuple[Part3D, ...]]:
        """Transform parts from an image's optical frame into the target frame, at the image's stamp.

        Args:
            header: the image's header.
            parts: in the frame of ``header``.
            timeout: maximum wait for the transform, seconds.

        Returns:
            Header with the target frame, and the parts in it.

        Raises:
            TransformError: TF has no transform at that stamp.
        """
        try:
            found = self._buffer.lookup_transform(
                self._frame_id,
                header.frame_id,
                Time.from_msg(header.stamp),
                Duration(seconds=timeout),
            ).transform
        except self._errors as error:
            raise TransformError(f"{header.frame_id} to {self._frame_id}: {error}") from error
        q, t = found.rotation, found.translation
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
        matrix[:3, 3] = t.x, t.y, t.z
        moved = tuple(replace(part, pose=matrix @ part.pose) for part in parts)
        return Header(stamp=header.stamp, frame_id=self._frame_id), moved


class PartFrames:
    """Broadcaster of a TF frame for every part.

    Args:
        node: node that sends TF.

    Raises:
        MissingDependencyError: tf2_ros is not installed.
    """

    def __init__(self, node: Node) -> None:
        self._broadcaster = _tf2_ros("publish_tf").TransformBroadcaster(node)

    def send(self, header: Header, parts: Sequence[Part3D], prefix: str, camera: str) -> None:
        """Send a frame for every part, named by :func:`frame_name`."""
        for part in parts:
            message = TransformStamped(
                header=header, child_frame_id=frame_name(prefix, camera, part)
            )
            for axis, value in zip("xyz", part.position, strict=True):
                setattr(message.transform.translation, axis, float(value))
            for axis, value in zip("xyzw", part.quaternion, strict=True):
                setattr(message.transform.rotation, axis, float(value))
            self._broadcaster.sendTransform(message)


def frame_name(prefix: str, camera: str, part: Part3D) -> str:
    """TF frame of a part: prefix, camera if there are several, query and track: ``part/left/knife_handle_3``.

    Every camera counts its own tracks. Without its name, two cameras would move one frame.
    """
    words = "_".join([*part.query.text.lower().split(), str(part.track_id or part.id)])
    return prefix + (f"{camera}/" if camera else "") + words


def _tf2_ros(parameter: str) -> Any:
    try:
        import tf2_ros
    except ImportError as error:
        raise MissingDependencyError(
            f"the parameter {parameter} needs tf2_ros: install ros-$ROS_DISTRO-tf2-ros-py"
        ) from error
    return tf2_ros
