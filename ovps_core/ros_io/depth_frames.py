"""Depth of a colour image: the check that camera_info and depth belong to it, and the registration if they do not.

The node and recordings use this module alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import CameraError, CameraInfoError, DepthFrameError
from ovps_core.pipeline.pose import DEPTH_RANGE, MIN_COVERAGE
from ovps_core.pipeline.registration import register_depth
from ovps_core.ros_io.camera_info import AUTO, camera_intrinsics
from ovps_core.ros_io.codec import image_depth
from ovps_core.structures.camera import CameraIntrinsics

Transform = Callable[[str, str], "NDArray[np.float64] | None"]
"""Function of (target frame, source frame) that returns [4, 4] from source to target, or None if it is unknown."""
STAMP_SLOP_S = 0.02
"""Default of the maximum difference of the stamps of an image and its depth, seconds."""


@dataclass(frozen=True)
class DepthOptions:
    """Options for depth; names and defaults are those of the node's parameters.

    Attributes:
        depth_scale: metres of one step of 16-bit depth.
        depth_range: nearest and farthest usable depth, metres.
        min_coverage: minimum share of a mask's pixels with depth for a part in 3D, 0..1.
        image_geometry: whether the colour image is rectified: auto, raw or rectified.
        check_frames: whether the frames of colour, depth and camera_info must agree.
    """

    depth_scale: float = 0.001
    depth_range: tuple[float, float] = DEPTH_RANGE
    min_coverage: float = MIN_COVERAGE
    image_geometry: str = AUTO
    check_frames: bool = True


@dataclass(frozen=True)
class DepthMessages:
    """Messages that belong to one colour image.

    Attributes:
        depth: depth image.
        info: camera_info of the colour image.
        depth_info: camera_info of the depth image, for depth that is not aligned to colour; or None.
        image_topic: topic of the colour image.
        depth_topic: topic of the depth image.
    """

    depth: Any
    info: Any
    depth_info: Any = None
    image_topic: str = ""
    depth_topic: str = ""


def colour_camera(
    messages: DepthMessages, image_header: Any, height: int, width: int, options: DepthOptions
) -> CameraIntrinsics:
    """Camera of a colour image.

    Args:
        messages: messages of the image.
        image_header: header of the colour image.
        height: of the colour image, pixels.
        width: of the colour image, pixels.
        options: options for depth.

    Raises:
        CameraInfoError: the camera_info is of another camera or cannot be used.
    """
    info = messages.info
    if options.check_frames and _differ(info.header.frame_id, image_header.frame_id):
        raise CameraInfoError(
            f"camera_info of the frame {info.header.frame_id!r}, colour image of {image_header.frame_id!r}; "
            "expected the camera_info of the colour camera"
        )
    camera = camera_intrinsics(info, messages.image_topic, options.image_geometry)
    if (camera.height, camera.width) != (height, width):
        raise CameraInfoError(
            f"camera_info of {camera.width}x{camera.height}, colour image of {width}x{height}; "
            "expected the camera_info of this image"
        )
    return camera


def colour_depth(
    messages: DepthMessages,
    image_header: Any,
    camera: CameraIntrinsics,
    options: DepthOptions,
    transform: Transform,
) -> NDArray[np.float32]:
    """Depth of a colour image, metres, float32 [H, W]; registered to colour if it is of another camera.

    Args:
        messages: messages of the image.
        image_header: header of the colour image.
        camera: camera of the colour image.
        options: options for depth.
        transform: function that knows the place of the depth camera.

    Raises:
        ImageError: the depth image cannot be read.
        DepthFrameError: depth is of another frame, and camera_info or transform of the depth camera are missing.
        CameraError: depth is of another size, and the camera_info of the depth camera is missing.
    """
    if messages.depth_info is None:
        return aligned_depth(messages.depth, image_header, camera.height, camera.width, options)
    depth_m = image_depth(messages.depth, options.depth_scale)
    frames = messages.depth.header.frame_id, image_header.frame_id
    moved = options.check_frames and _differ(*frames)
    if options.check_frames and _differ(messages.depth_info.header.frame_id, frames[0]):
        raise DepthFrameError(
            f"depth of the frame {frames[0]!r}, its camera_info of "
            f"{messages.depth_info.header.frame_id!r}; expected the camera_info of the depth camera"
        )
    try:
        depth_camera = camera_intrinsics(messages.depth_info, messages.depth_topic)
    except CameraInfoError as error:
        raise CameraInfoError(
            f"camera_info of the depth camera: {error}. image_geometry is for colour: remap depth to a topic with "
            "the word 'raw' or 'rect'"
        ) from error
    if not moved and depth_camera == camera and depth_m.shape == (camera.height, camera.width):
        return depth_m
    place = transform(frames[1], frames[0]) if moved else np.eye(4)
    if place is None:
        raise DepthFrameError(
            f"no transform from {frames[0]!r} to {frames[1]!r}, so depth cannot be registered to colour; "
            "expected it on /tf or /tf_static"
        )
    return register_depth(depth_m, depth_camera, camera, place)


def aligned_depth(
    message: Any, image_header: Any, height: int, width: int, options: DepthOptions
) -> NDArray[np.float32]:
    """Depth that is aligned to a colour image, metres, float32 [H, W].

    Args:
        message: the depth image.
        image_header: header of the colour image.
        height: of the colour image, pixels.
        width: of the colour image, pixels.
        options: options for depth.

    Raises:
        ImageError: the depth image cannot be read.
        DepthFrameError: depth is of another frame.
        CameraError: depth is of another size.
    """
    depth_m = image_depth(message, options.depth_scale)
    frames = message.header.frame_id, image_header.frame_id
    if options.check_frames and _differ(*frames):
        raise DepthFrameError(
            f"depth of the frame {frames[0]!r}, colour of {frames[1]!r}; expected depth aligned to colour, or "
            "the camera_info of the depth camera to register it"
        )
    if depth_m.shape != (height, width):
        raise CameraError(
            f"depth of {depth_m.shape[1]}x{depth_m.shape[0]}, colour of "
            f"{width}x{height}; expected depth aligned to colour"
        )
    return depth_m


def _differ(one: str, other: str) -> bool:
    """Return True if two frames differ; an empty name says nothing, and a leading slash is of ROS 1."""
    return bool(one and other) and one.lstrip("/") != other.lstrip("/")
