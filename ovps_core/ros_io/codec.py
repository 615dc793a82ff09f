"""Codec of ROS messages and values, one for rclpy and rosbags.

Reading needs no library: messages of rclpy and of rosbags have the same fields. Writing needs a
:class:`MessageFactory`, because the two libraries differ in their constructors and in how they keep arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import ImageError
from ovps_core.language.parser import parse_query
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.ros_io.compressed import compressed_depth_to_m, compressed_to_rgb
from ovps_core.ros_io.encodings import to_depth_m, to_rgb
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import BoxedMask, ObjectMask, PartMask, PartMasks
from ovps_core.structures.part3d import Part3D
from ovps_core.structures.query import PartQuery, ReadAs, RefusedQuery

PART_MASKS = "ovps_ros/msg/PartMasks"
PARTS_3D = "ovps_ros/msg/Parts3D"
_NANOSECONDS = 1_000_000_000
_ENCODINGS = {
    (np.dtype("u1"), 3): "rgb8",
    (np.dtype("u1"), 1): "mono8",
    (np.dtype("u2"), 1): "16UC1",
    (np.dtype("f4"), 1): "32FC1",
}


# Messages to values


def image_rgb(message: Any) -> RgbImage:
    """Pixels of a sensor_msgs/Image or CompressedImage, RGB uint8 [H, W, 3].

    Raises:
        ImageError: the encoding is unknown, or the bytes do not fit the size.
    """
    if _is_compressed(message):
        return compressed_to_rgb(message.data, message.format)
    return to_rgb(
        message.data, message.height, message.width, message.encoding, message.step,
        bool(message.is_bigendian),
    )  # fmt: skip


def image_depth(message: Any, depth_scale: float) -> NDArray[np.float32]:
    """Depth of a sensor_msgs/Image, raw or compressedDepth, in metres.

    Args:
        message: the depth image.
        depth_scale: metres of one step of a 16-bit image.

    Returns:
        float32 [H, W], NaN where nothing was measured (REP 118).

    Raises:
        ImageError: the encoding is unknown, or the bytes do not fit the size.
    """
    if _is_compressed(message):
        return compressed_depth_to_m(message.data, message.format, depth_scale)
    return to_depth_m(
        message.data, message.height, message.width, message.encoding, message.step,
        bool(message.is_bigendian), depth_scale,
    )  # fmt: skip


def _is_compressed(message: Any) -> bool:
    return hasattr(message, "format")  # a raw Image has an encoding instead


def nanoseconds(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time or Duration."""
    return int(stamp.sec) * _NANOSECONDS + int(stamp.nanosec)


def query_value(message: Any) -> PartQuery:
    """Query of an ovps_ros/PartQuery; if object and part are empty, both are read from the text.

    Raises:
        QueryError: the text cannot be read, or a number is out of range.
    """
    text = message.text or f"{message.object} {message.part}".strip()
    threshold = round(float(message.threshold), 6)  # 0.4 comes as 0.4000000059 from 32 bits
    which = getattr(message, "which", "")
    if not message.object and not message.part:
        query = parse_query(text, threshold=threshold, max_parts=message.max_parts)
        return replace(query, which=which) if which else query
    return PartQuery(
        text, message.object, message.part, threshold, message.max_parts, which, **_reading(message)
    )


def _reading(message: Any) -> dict[str, Any]:
    """Fields of an answered query that say how it was read; empty in a request and in older recordings."""
    names = getattr(message, "read_as", None)
    if names is None:
        return {}
    read_as = ReadAs(names.object, names.part)
    return {
        "read_as": read_as if read_as != ReadAs() else None,
        "corrected": tuple(message.corrected),
        "ignored": tuple(message.ignored),
    }


def refused_value(message: Any) -> RefusedQuery:
    """Refused phrase of an ovps_ros/RefusedQuery."""
    return RefusedQuery(message.text, message.reason, tuple(message.nearest))


def masks_value(message: Any) -> PartMasks:
    """Part masks of an ovps_ros/PartMasks.

    Raises:
        ImageError: the bytes of a mask do not fill its box, or a box is not in the image.
        QueryError: a query names nothing, or a number of it is out of range.
    """
    queries = tuple(query_value(query) for query in message.queries)
    parts = tuple(_part_value(part) for part in message.parts)
    refused = tuple(refused_value(query) for query in message.refused)
    objects = tuple(_object_value(found) for found in getattr(message, "objects", ()))
    for found in (*parts, *objects):
        _, _, right, bottom = found.box.corners
        if right > message.width or bottom > message.height:
            raise ImageError(
                f"a mask in {found.box}, but its image has {message.width}x{message.height} pixels"
            )
    return PartMasks(message.height, message.width, queries, parts, message.model, refused, objects)


def _part_value(message: Any) -> PartMask:
    box, mask = _boxed_mask(message)
    return PartMask(
        message.id,
        query_value(message.query),
        float(message.score),
        box,
        mask,
        message.track_id,
        # Recordings of earlier versions have no objects.
        object_id=getattr(message, "object_id", 0),
        margin=float(getattr(message, "margin", 0.0)),
    )


def _object_value(message: Any) -> ObjectMask:
    box, mask = _boxed_mask(message)
    score = float(message.score)
    return ObjectMask(message.id, message.name, score, box, mask, message.track_id)


def _boxed_mask(message: Any) -> tuple[Box, NDArray[np.bool_]]:
    """Box and mask of an ovps_ros/PartMask or ovps_ros/ObjectMask."""
    roi = message.roi
    box = Box(roi.x_offset, roi.y_offset, roi.width, roi.height)
    data = np.asarray(message.mask.data, np.uint8)
    size = int(message.mask.width), int(message.mask.height)
    if size != (box.width, box.height) or data.size != box.area or not data.any():
        raise ImageError(
            f"a mask of {size[0]}x{size[1]} pixels and {data.size} bytes in a box of "
            f"{box.width}x{box.height} pixels; expected the same size, one byte per pixel, and a pixel on the part"
        )
    return box, data.reshape(box.height, box.width) > 0


# Values to messages


class MessageFactory(Protocol):
    """Constructor of the messages of one library: rclpy or rosbags."""

    def __call__(self, type_name: str, /, **fields: Any) -> Any:
        """Make a message, such as ``make("std_msgs/msg/Header", stamp=..., frame_id=...)``.

        Every field is given, because messages of rosbags have no defaults. Numeric arrays are given as
        one-dimensional, contiguous NumPy arrays of the field's element type.
        """


class MessageEncoder:
    """Encoder of values as messages of one library.

    Args:
        make: constructor of that library's messages. A ``header`` argument of the methods is a
            std_msgs/Header of the same library; it is passed on as it is.
    """

    def __init__(self, make: MessageFactory) -> None:
        self._make = make

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """std_msgs/Header with a stamp in nanoseconds."""
        sec, nanosec = divmod(stamp_ns, _NANOSECONDS)
        stamp = self._make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def image(self, pixels: NDArray[Any], header: Any, encoding: str = "") -> Any:
        """sensor_msgs/Image of an array [H, W] or [H, W, C].

        Args:
            pixels: uint8, uint16 or float32.
            header: the message's header.
            encoding: as in ``sensor_msgs/image_encodings.hpp``; empty derives it from ``pixels``: rgb8 for
                uint8 [H, W, 3], mono8 for uint8, 16UC1 for uint16 and 32FC1 for float32 [H, W].
        """
        height, width = pixels.shape[:2]
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        return self._make(
            "sensor_msgs/msg/Image",
            header=header,
            height=height,
            width=width,
            encoding=encoding or _ENCODINGS[pixels.dtype, channels],
            is_bigendian=0,
            step=width * channels * pixels.itemsize,
            data=np.ascontiguousarray(pixels).reshape(-1).view(np.uint8),
        )

    def query(self, query: PartQuery) -> Any:
        """ovps_ros/PartQuery."""
        read_as = query.read_as or ReadAs()
        return self._make(
            "ovps_ros/msg/PartQuery",
            text=query.text,
            object=query.object,
            part=query.part,
            threshold=query.threshold,
            max_parts=query.max_parts,
            which=query.which,
            read_as=self._make("ovps_ros/msg/ReadAs", object=read_as.object, part=read_as.part),
            corrected=list(query.corrected),
            ignored=list(query.ignored),
        )

    def refused(self, query: RefusedQuery) -> Any:
        """ovps_ros/RefusedQuery."""
        return self._make(
            "ovps_ros/msg/RefusedQuery",
            text=query.text,
            reason=query.reason,
            nearest=list(query.nearest),
        )

    def masks(self, masks: PartMasks, header: Any, latency_ns: int = 0) -> Any:
        """ovps_ros/PartMasks.

        Args:
            masks: the parts of one image.
            header: that image's own header.
            latency_ns: nanoseconds from the image's stamp to publication; negative values become 0.
        """
        queries = {query: self.query(query) for query in masks.queries}
        sec, nanosec = divmod(max(0, latency_ns), _NANOSECONDS)
        return self._make(
            PART_MASKS,
            header=header,
            height=masks.height,
            width=masks.width,
            queries=list(queries.values()),
            refused=[self.refused(query) for query in masks.refused],
            parts=[self._part(part, header, queries[part.query]) for part in masks.parts],
            objects=[self._object(found, header) for found in masks.objects],
            model=masks.model,
            latency=self._make("builtin_interfaces/msg/Duration", sec=sec, nanosec=nanosec),
        )

    def parts_3d(self, parts: Sequence[Part3D], header: Any, height: int, width: int) -> Any:
        """ovps_ros/Parts3D.

        Args:
            parts: in the frame that ``header`` names.
            header: the image's stamp and the parts' frame.
            height: of the organised cloud that the parts' indices point into, pixels.
            width: likewise.
        """
        return self._make(
            PARTS_3D,
            header=header,
            height=height,
            width=width,
            parts=[self._part_3d(part) for part in parts],
        )

    def pose(self, position: Iterable[float], quaternion: Iterable[float]) -> Any:
        """geometry_msgs/Pose of a position [x, y, z] and a quaternion [x, y, z, w]."""
        return self._make(
            "geometry_msgs/msg/Pose",
            position=self._make("geometry_msgs/msg/Point", **_named("xyz", position)),
            orientation=self._make("geometry_msgs/msg/Quaternion", **_named("xyzw", quaternion)),
        )

    def _part(self, part: PartMask, header: Any, query: Any) -> Any:
        return self._make(
            "ovps_ros/msg/PartMask",
            id=part.id,
            track_id=part.track_id,
            query=query,
            score=float(part.score),
            **self._roi_and_mask(part, header),
            object_id=part.object_id,
            margin=float(part.margin),
        )

    def _object(self, found: ObjectMask, header: Any) -> Any:
        return self._make(
            "ovps_ros/msg/ObjectMask",
            id=found.id,
            track_id=found.track_id,
            name=found.name,
            score=float(found.score),
            **self._roi_and_mask(found, header),
        )

    def _roi_and_mask(self, found: BoxedMask, header: Any) -> dict[str, Any]:
        box = found.box
        roi = self._make(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=box.x_offset,
            y_offset=box.y_offset,
            height=box.height,
            width=box.width,
            do_rectify=False,
        )
        return {"roi": roi, "mask": self.image(found.mask.astype(np.uint8) * np.uint8(255), header)}

    def _part_3d(self, part: Part3D) -> Any:
        return self._make(
            "ovps_ros/msg/Part3D",
            id=part.id,
            track_id=part.track_id,
            object_id=part.object_id,
            query=self.query(part.query),
            score=float(part.score),
            pose=self.pose(part.position, part.quaternion),
            size=self._make("geometry_msgs/msg/Vector3", **_named("xyz", part.size)),
            depth_coverage=float(part.depth_coverage),
            indices=np.ascontiguousarray(part.indices, np.uint32),
        )


def _named(names: str, values: Iterable[float]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}
