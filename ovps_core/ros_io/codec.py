"""ROS messages into values, whichever library read them: those of rclpy and of rosbags have the same fields."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import ImageError
from ovps_core.language.parser import parse_query
from ovps_core.pipeline.pose import CameraIntrinsics
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.ros_io.encodings import compressed_depth_to_m, compressed_to_rgb, to_depth_m, to_rgb
from ovps_core.structures.masks import Box, PartMask, PartMasks
from ovps_core.structures.query import PartQuery


def image_rgb(message: Any) -> RgbImage:
    """RGB uint8 [H, W, 3] of a sensor_msgs/Image or CompressedImage.

    Raises:
        ImageError: an encoding or size that cannot be read.
    """
    if _is_compressed(message):
        return compressed_to_rgb(message.data)
    return to_rgb(
        message.data, message.height, message.width, message.encoding, message.step,
        bool(message.is_bigendian),
    )  # fmt: skip


def image_depth(message: Any, depth_scale: float) -> NDArray[np.float32]:
    """Metres float32 [H, W] of a depth image, raw or compressedDepth; NaN where nothing was measured.

    Raises:
        ImageError: an encoding or size that cannot be read.
    """
    if _is_compressed(message):
        return compressed_depth_to_m(message.data, message.format, depth_scale)
    return to_depth_m(
        message.data, message.height, message.width, message.encoding, message.step,
        bool(message.is_bigendian), depth_scale,
    )  # fmt: skip


def _is_compressed(message: Any) -> bool:
    return hasattr(message, "format")  # an Image has an encoding in its place


def camera_intrinsics(message: Any) -> CameraIntrinsics:
    """The pinhole of a sensor_msgs/CameraInfo.

    Raises:
        ImageError: the camera was never calibrated.
    """
    return CameraIntrinsics.from_matrix(message.k, message.width, message.height)


def query_value(message: Any) -> PartQuery:
    """The query of an ovps_ros/PartQuery; object and part are read from the text where both are empty.

    Raises:
        QueryError: a text or threshold of no use.
    """
    text = message.text or f"{message.object} {message.part}".strip()
    threshold = round(float(message.threshold), 6)  # 0.4 comes as 0.4000000059 from 32 bits
    if not message.object and not message.part:
        return parse_query(text, threshold=threshold, max_parts=message.max_parts)
    return PartQuery(text, message.object, message.part, threshold, message.max_parts)


def masks_value(message: Any) -> PartMasks:
    """The value that an ovps_ros/PartMasks was made from.

    Raises:
        ImageError: a mask's bytes do not fill its roi.
    """
    parts = []
    for part in message.parts:
        roi = Box(part.roi.x_offset, part.roi.y_offset, part.roi.width, part.roi.height)
        data = np.asarray(part.mask.data, np.uint8)
        if data.size != roi.width * roi.height:
            raise ImageError(f"a mask of {data.size} bytes for {roi}")
        mask = data.reshape(roi.height, roi.width) > 0
        query = query_value(part.query)
        parts.append(PartMask(part.id, query, float(part.score), roi, mask, part.track_id))
    queries = tuple(query_value(query) for query in message.queries)
    return PartMasks(message.height, message.width, queries, tuple(parts), message.model)
