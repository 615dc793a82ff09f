"""Values of ovps_core into messages of ovps_ros, filled in the fast way.

``data.frombytes`` on a message's array costs microseconds; assigning an ndarray walks it byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from ovps_core.pipeline.pose import Part3D
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery
from ovps_ros.msg import Part3D as Part3DMsg
from ovps_ros.msg import PartMask as PartMaskMsg
from ovps_ros.msg import PartMasks as PartMasksMsg
from ovps_ros.msg import PartQuery as PartQueryMsg
from ovps_ros.msg import Parts3D as Parts3DMsg

_ENCODINGS = {
    (np.dtype("u1"), 3): "rgb8",
    (np.dtype("u1"), 1): "mono8",
    (np.dtype("u2"), 1): "16UC1",
    (np.dtype("f4"), 1): "32FC1",
}


def image_message(pixels: NDArray[Any], header: Header) -> Image:
    """rgb8 from uint8 [H, W, 3]; mono8, 16UC1 or 32FC1 from uint8, uint16 or float32 [H, W]."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    message = Image(header=header)
    message.height, message.width = pixels.shape[:2]
    message.encoding = _ENCODINGS[pixels.dtype, channels]
    message.step = message.width * channels * pixels.itemsize
    message.data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    return message


def query_message(query: PartQuery) -> PartQueryMsg:
    """One query."""
    return PartQueryMsg(
        text=query.text,
        object=query.object,
        part=query.part,
        threshold=query.threshold,
        max_parts=query.max_parts,
    )


def masks_message(
    masks: PartMasks, header: Header, latency: Duration | None = None
) -> PartMasksMsg:
    """Every part of one image, with that image's own header."""
    queries = {query: query_message(query) for query in masks.queries}
    return PartMasksMsg(
        header=header,
        height=masks.height,
        width=masks.width,
        queries=list(queries.values()),
        parts=[_mask_message(part, header, queries[part.query]) for part in masks.parts],
        model=masks.model,
        latency=latency or Duration(),
    )


def _mask_message(part: PartMask, header: Header, query: PartQueryMsg) -> PartMaskMsg:
    roi = part.box
    return PartMaskMsg(
        id=part.id,
        track_id=part.track_id,
        query=query,
        score=float(part.score),
        roi=RegionOfInterest(
            x_offset=roi.x_offset, y_offset=roi.y_offset, width=roi.width, height=roi.height
        ),
        mask=image_message(part.mask.astype(np.uint8) * np.uint8(255), header),
    )


def parts_3d_message(
    parts: Sequence[Part3D], header: Header, height: int, width: int
) -> Parts3DMsg:
    """Parts in space; the indices point into an organised cloud of ``height`` x ``width``."""
    return Parts3DMsg(
        header=header, height=height, width=width, parts=[_part_3d_message(part) for part in parts]
    )


def _part_3d_message(part: Part3D) -> Part3DMsg:
    message = Part3DMsg(
        id=part.id,
        track_id=part.track_id,
        query=query_message(part.query),
        score=float(part.score),
        pose=pose_message(part.position, part.quaternion),
        size=Vector3(**_xyz(part.size)),
        depth_coverage=part.depth_coverage,
    )
    message.indices.frombytes(np.ascontiguousarray(part.indices, np.uint32).data.cast("B"))
    return message


def pose_message(position: Iterable[float], quaternion: Iterable[float]) -> Pose:
    """A pose from [x, y, z] and [x, y, z, w]."""
    x, y, z, w = (float(value) for value in quaternion)
    return Pose(position=Point(**_xyz(position)), orientation=Quaternion(x=x, y=y, z=z, w=w))


def _xyz(values: Iterable[float]) -> dict[str, float]:
    return dict(zip("xyz", (float(value) for value in values), strict=True))


def nanoseconds(stamp: Time) -> int:
    """A stamp as one number."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def duration(nanosec: int) -> Duration:
    """A length of time, not negative."""
    nanosec = max(0, nanosec)
    return Duration(sec=nanosec // 1_000_000_000, nanosec=nanosec % 1_000_000_000)
