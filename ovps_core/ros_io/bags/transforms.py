"""Static transforms of a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from scipy.spatial.transform import Rotation

from ovps_core.errors import RecordingError
from ovps_core.ros_io.bags.damage import MessageReader, deserialize


@dataclass(frozen=True)
class StaticTransforms:
    """Tree of the frames on ``/tf_static``.

    Attributes:
        by_child: the last transform of each child frame: parent, child, translation, rotation_xyzw.
    """

    by_child: Mapping[str, Mapping[str, Any]]

    def find(self, target: str, source: str) -> NDArray[np.float64] | None:
        """Transform [4, 4] from one frame to another; None if the tree does not join them."""
        to_target, to_source = (self._ancestors(frame.lstrip("/")) for frame in (target, source))
        for frame, source_in_frame in to_source.items():
            if frame in to_target:
                joined = np.linalg.inv(to_target[frame]) @ source_in_frame
                return np.asarray(joined, np.float64)
        return None

    def _ancestors(self, frame: str) -> dict[str, NDArray[np.float64]]:
        """Transforms [4, 4] from a frame to itself and to each of its ancestors, nearest first."""
        found = {frame: np.eye(4)}
        while (edge := self.by_child.get(frame)) is not None and edge["parent"] not in found:
            length = float(np.linalg.norm(edge["rotation_xyzw"]))
            if not (np.isfinite([length, *edge["translation"]]).all() and length > 0):
                break  # a quaternion of zeros, as of a message that nobody filled, is no rotation
            step = np.eye(4)
            step[:3, :3] = Rotation.from_quat(edge["rotation_xyzw"]).as_matrix()
            step[:3, 3] = edge["translation"]
            found[edge["parent"]] = step @ found[frame]
            frame = edge["parent"]
        return found


def static_transforms(reader: AnyReader) -> StaticTransforms:
    """Read ``/tf_static`` of an open recording."""
    found: dict[str, dict[str, Any]] = {}
    connections = [c for c in reader.connections if c.topic == "/tf_static"]
    for connection, _, raw in MessageReader(reader, connections):
        try:
            message = deserialize(reader, raw, connection.msgtype)
        except RecordingError:
            continue  # frames that it joins are then named as not joined
        for stamped in message.transforms:
            translation, rotation = stamped.transform.translation, stamped.transform.rotation
            child = stamped.child_frame_id.lstrip("/")
            found[child] = {
                "parent": stamped.header.frame_id.lstrip("/"),
                "child": child,
                "translation": [translation.x, translation.y, translation.z],
                "rotation_xyzw": [rotation.x, rotation.y, rotation.z, rotation.w],
            }
    return StaticTransforms(found)
