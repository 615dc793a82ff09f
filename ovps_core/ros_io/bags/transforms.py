"""Transforms of a recording: those that stay, and all of them at a time."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from scipy.spatial.transform import Rotation, Slerp

from ovps_core.errors import RecordingError
from ovps_core.ros_io.bags.damage import MessageReader, deserialize
from ovps_core.ros_io.codec import nanoseconds


@dataclass(frozen=True)
class StaticTransforms:
    """Tree of frames that stay, such as those on ``/tf_static``.

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


class Transforms:
    """Frames of a recording over time: ``/tf_static``, and ``/tf`` between its messages.

    Like tf2, it interpolates between two messages and knows nothing beyond the last one.

    Args:
        reader: an open recording; all of its ``/tf`` is read, 64 bytes a transform.
    """

    def __init__(self, reader: AnyReader) -> None:
        self._static = static_transforms(reader).by_child
        found: dict[tuple[str, str], array[float]] = defaultdict(lambda: array("d"))
        first: int | None = None
        for stamp, edge in _edges(reader, "/tf"):
            first = stamp if first is None else first
            # seconds since the first message: float64 does not hold nanoseconds since 1970
            values = (stamp - first) / 1e9, *edge["translation"], *edge["rotation_xyzw"]
            if np.isfinite(values).all() and any(edge["rotation_xyzw"]):
                found[edge["parent"], edge["child"]].extend(values)
        self._first = first or 0
        self._moving = {edge: _in_order(values) for edge, values in found.items()}

    @property
    def frames(self) -> set[str]:
        """Names of all frames."""
        edges = [*self._moving, *((each["parent"], child) for child, each in self._static.items())]
        return {name for edge in edges for name in edge}

    def at(self, stamp_ns: int) -> StaticTransforms:
        """The tree at a time, without the frames that are not known then."""
        tree = dict(self._static)
        time = (stamp_ns - self._first) / 1e9
        for (parent, child), samples in self._moving.items():
            after = int(np.searchsorted(samples[:, 0], time))
            if after == len(samples) or (after == 0 and samples[0, 0] > time):
                continue
            before, later = samples[max(0, after - 1)], samples[after]
            share = (time - before[0]) / (later[0] - before[0]) if after else 0.0
            turn = Slerp([0, 1], Rotation.from_quat([before[4:], later[4:]]))(share)
            tree[child] = {
                "parent": parent,
                "child": child,
                "translation": before[1:4] + share * (later[1:4] - before[1:4]),
                "rotation_xyzw": turn.as_quat(),
            }
        return StaticTransforms(tree)


def _in_order(values: array[float]) -> NDArray[np.float64]:
    """Samples [N, 8] in the order of their times, each time once."""
    samples = np.frombuffer(values).reshape(-1, 8)
    return samples[np.unique(samples[:, 0], return_index=True)[1]]


def static_transforms(reader: AnyReader) -> StaticTransforms:
    """Read ``/tf_static`` of an open recording."""
    return StaticTransforms({edge["child"]: edge for _, edge in _edges(reader, "/tf_static")})


def _edges(reader: AnyReader, topic: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stamps in nanoseconds and transforms of all messages of a topic."""
    connections = [c for c in reader.connections if c.topic == topic]
    for connection, _, raw in MessageReader(reader, connections):
        try:
            message = deserialize(reader, raw, connection.msgtype)
        except RecordingError:
            continue  # frames that it joins are then named as not joined
        for stamped in message.transforms:
            translation, rotation = stamped.transform.translation, stamped.transform.rotation
            yield (
                nanoseconds(stamped.header.stamp),
                {
                    "parent": stamped.header.frame_id.lstrip("/"),
                    "child": stamped.child_frame_id.lstrip("/"),
                    "translation": [translation.x, translation.y, translation.z],
                    "rotation_xyzw": [rotation.x, rotation.y, rotation.z, rotation.w],
                },
            )
