"""TF of parts, if tf2_ros is installed: poses in another frame, and a TF frame for every part."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from ovps_core.errors import DepthFrameError, MissingDependencyError, OvpsError
from ovps_core.structures.part3d import Part3D


class TransformError(OvpsError, LookupError):
    """TF has no transform at an image's stamp."""


class Transforms:
    """Listener to TF, which subscribes when the first transform is asked for.

    Args:
        node: node that listens to TF.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._buffer: Any = None
        self._listener: Any = None
        self._lock = threading.Lock()

    def listen(self, needed_by: str) -> None:
        """Subscribe to TF.

        Args:
            needed_by: parameter or topic that needs TF, for the error.

        Raises:
            MissingDependencyError: tf2_ros is not installed.
        """
        tf2_ros = _tf2_ros(needed_by)
        with self._lock:
            if self._listener is None:
                self._buffer = tf2_ros.Buffer()
                self._listener = tf2_ros.TransformListener(self._buffer, self._node)

    def lookup(self, target: str, source: str, time: Time, timeout: float) -> NDArray[np.float64]:
        """Transform [4, 4] from one frame to another at a time, after :meth:`listen`.

        Args:
            target: frame to transform to.
            source: frame to transform from.
            time: the time; 0 is the latest.
            timeout: maximum wait for the transform, seconds.

        Raises:
            TransformError: TF has no such transform.
        """
        errors = _tf2_ros("TF").TransformException
        try:
            found = self._buffer.lookup_transform(target, source, time, Duration(seconds=timeout))
        except errors as error:
            raise TransformError(f"{source} to {target}: {error}") from error
        q, t = found.transform.rotation, found.transform.translation
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
        matrix[:3, 3] = t.x, t.y, t.z
        return matrix

    def find(self, target: str, source: str) -> NDArray[np.float64] | None:
        """Latest transform [4, 4] between two frames of one rigid mount; None if TF does not have it.

        Raises:
            DepthFrameError: tf2_ros is not installed.
        """
        try:
            self.listen("depth_camera_info")
            return self.lookup(target, source, Time(), 0.0)
        except TransformError:
            return None
        except MissingDependencyError as error:
            raise DepthFrameError(str(error)) from error

    def close(self) -> None:
        """Give the subscriptions back."""
        with self._lock:
            if self._listener is not None:
                self._listener.unregister()
            self._listener = self._buffer = None


class TargetFrame:
    """Frame in which poses of parts are published.

    Args:
        transforms: TF.
        frame_id: name of the frame.

    Raises:
        MissingDependencyError: tf2_ros is not installed.
    """

    def __init__(self, transforms: Transforms, frame_id: str) -> None:
        transforms.listen("target_frame")
        self._transforms, self._frame_id = transforms, frame_id

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
        stamp = Time.from_msg(header.stamp)
        matrix = self._transforms.lookup(self._frame_id, header.frame_id, stamp, timeout)
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
        self._node = node
        self._broadcaster = _tf2_ros("publish_tf").TransformBroadcaster(node)

    def close(self) -> None:
        """Give the publisher back."""
        self._node.destroy_publisher(self._broadcaster.pub_tf)

    def send(self, header: Header, parts: Sequence[Part3D], prefix: str, camera: str) -> None:
        """Send a frame for every part, named by :func:`frame_name`; one for answers to several queries."""
        messages = []
        named = {frame_name(prefix, camera, part): part for part in reversed(parts)}
        for name, part in named.items():
            message = TransformStamped(header=header, child_frame_id=name)
            for axis, value in zip("xyz", part.position, strict=True):
                setattr(message.transform.translation, axis, float(value))
            for axis, value in zip("xyzw", part.quaternion, strict=True):
                setattr(message.transform.rotation, axis, float(value))
            messages.append(message)
        self._broadcaster.sendTransform(messages)


def frame_name(prefix: str, camera: str, part: Part3D) -> str:
    """TF frame of a part: prefix, camera if there are several, query and track: ``part/left/knife_handle_3``.

    Every camera counts its own tracks. Without its name, two cameras would move one frame.
    """
    words = "_".join([*part.query.label.lower().split(), str(part.track_id or part.id)])
    return prefix + (f"{camera}/" if camera else "") + words


def _tf2_ros(parameter: str) -> Any:
    try:
        import tf2_ros
    except ImportError as error:
        raise MissingDependencyError(
            f"{parameter} needs tf2_ros: install ros-$ROS_DISTRO-tf2-ros-py"
        ) from error
    return tf2_ros
