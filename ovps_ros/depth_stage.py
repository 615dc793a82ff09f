"""Depth of a frame: parts in 3D, or a named fault and no pose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from ovps_core.errors import CameraError, CameraInfoError, DepthFrameError, ImageError
from ovps_core.pipeline.objects import (
    choose_by_depth,
    undecided_by_depth,
    without_chosen_by_depth,
)
from ovps_core.pipeline.pose import depths_out_of_range, parts_3d
from ovps_core.ros_io.codec import nanoseconds
from ovps_core.ros_io.depth_frames import DepthMessages, colour_camera, colour_depth
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.part3d import Part3D
from ovps_core.structures.query import BY_DEPTH, PartQuery
from ovps_ros.cameras import CameraStream
from ovps_ros.diagnostics import ERROR, WARN, Fault, FaultReporter
from ovps_ros.frame_result import FrameResult3D
from ovps_ros.latest_frames import Frame
from ovps_ros.parameters import Settings
from ovps_ros.transforms import TargetFrame, TransformError, Transforms

_MILLIMETRES = 50.0  # a camera that measures this many metres most likely sends millimetres
_HINTS: dict[Fault, str] = {
    Fault.CAMERA_INFO: "remap camera_info to the topic of the colour camera, and calibrate it; see 'Raw or "
    "rectified' in docs/robot.md",
    Fault.DEPTH_FRAME: "let the driver align depth to colour (RealSense: align_depth.enable), or remap "
    "depth_camera_info, with TF between both cameras; check_frames: false if depth is aligned although its "
    "frame_id is another one",
    Fault.DEPTH: "configure the driver for depth registered to colour (RealSense: align_depth.enable), or remap "
    "depth_camera_info",
    Fault.TRANSFORM: "check that TF contains the camera's frame, and that the clocks are synchronised",
}
_UNREADABLE = "let the driver send depth as 16UC1 in millimetres or 32FC1 in metres, and remap depth to this topic"


class DepthResult(NamedTuple):
    """Masks and parts in 3D of a frame, after depth was added.

    Attributes:
        masks: the parts of the image, of queries that choose by depth only those that they choose.
        in_3d: parts in 3D; None after a fault.
        undecided: queries that choose by depth whose parts are left out, since their depth is not known.
    """

    masks: PartMasks
    in_3d: FrameResult3D | None
    undecided: tuple[PartQuery, ...]


class DepthStage:
    """Stage that adds depth to the masks of a frame.

    Args:
        faults: reporter for problems.
        transforms: TF, for depth of another camera.
        target_frame: frame of the parts' poses; None leaves them in the optical frame.
    """

    def __init__(
        self, faults: FaultReporter, transforms: Transforms, target_frame: TargetFrame | None
    ) -> None:
        self._faults, self._transforms, self._target_frame = faults, transforms, target_frame

    def add(
        self, camera: CameraStream, frame: Frame, masks: PartMasks, settings: Settings
    ) -> DepthResult:
        """Choose by depth and add parts in 3D; what cannot be done is reported as a fault.

        May wait for a depth image that has not arrived yet, and for the transform.

        Args:
            camera: the camera that the masks come from, with depth.
            frame: the colour image.
            masks: parts of the colour image.
            settings: the current settings.
        """
        header, options = frame.message.header, settings.depth_options
        without = DepthResult(without_chosen_by_depth(masks), None, _chosen_by_depth(masks))
        messages = self._take(camera, frame, settings)
        if messages is None:
            return without
        try:
            intrinsics = colour_camera(messages, header, masks.height, masks.width, options)
            depth_m = colour_depth(messages, header, intrinsics, options, self._transforms.find)
            found = masks
            masks = choose_by_depth(found, depth_m, options.depth_range, settings.max_parts)
            undecided = undecided_by_depth(found, masks, depth_m, options.depth_range)
            parts = parts_3d(masks, depth_m, intrinsics, options.depth_range, options.min_coverage)
        except ImageError as error:
            self._report_unusable(camera, error)
            return without
        self._report_missing(camera, masks, parts, depth_m, messages, settings)
        try:
            if self._target_frame is not None:
                header, parts = self._target_frame.transform(header, parts, settings.tf_timeout)
        except TransformError as error:
            hint = _HINTS[Fault.TRANSFORM]
            self._faults.report(Fault.TRANSFORM, WARN, str(error), hint, camera=camera.name)
            return DepthResult(masks, None, undecided)
        return DepthResult(masks, FrameResult3D(header, depth_m, intrinsics, parts), undecided)

    def _take(self, camera: CameraStream, frame: Frame, settings: Settings) -> DepthMessages | None:
        """Depth and camera_info of an image, or None with a fault."""
        buffer, stamp_ns = camera.depth, nanoseconds(frame.message.header.stamp)
        assert buffer is not None  # this stage runs only with depth
        depth, reason = buffer.take_nearest(
            stamp_ns, settings.sync_slop, arrived_at=frame.arrived_at
        )
        if depth is None:
            hint = "raise sync_slop for a camera that is not synchronised"
            if not stamp_ns:
                hint = "let the driver fill in the stamps; " + hint
            if buffer.is_empty:
                cause, hint = camera.explain_silence("depth")
                reason += f": {cause}"
            self._faults.report(Fault.DEPTH, WARN, reason, hint, kind="missing", camera=camera.name)
            return None
        info = buffer.infos.of_reserved()
        if info is None:
            cause, hint = camera.explain_silence("camera_info")
            message, name = f"no camera_info has arrived: {cause}", camera.name
            self._faults.report(Fault.CAMERA_INFO, WARN, message, hint, kind="missing", camera=name)
            return None
        topics = camera.image_topic, camera.depth_topic
        return DepthMessages(depth, info, buffer.depth_infos.of_reserved(), *topics)

    def _report_unusable(self, camera: CameraStream, error: ImageError) -> None:
        text, name = str(error), camera.name
        if isinstance(error, CameraInfoError):
            hint = _HINTS[Fault.CAMERA_INFO]
            self._faults.report(Fault.CAMERA_INFO, ERROR, text, hint, kind=text, camera=name)
        elif isinstance(error, DepthFrameError):
            hint = _HINTS[Fault.DEPTH_FRAME]
            self._faults.report(Fault.DEPTH_FRAME, ERROR, text, hint, kind=text, camera=name)
        else:
            hint = _HINTS[Fault.DEPTH] if isinstance(error, CameraError) else _UNREADABLE
            self._faults.report(Fault.DEPTH, ERROR, text, hint, kind=text, camera=name)

    def _report_missing(
        self,
        camera: CameraStream,
        masks: PartMasks,
        parts: Sequence[Part3D],
        depth_m: NDArray[np.float32],
        messages: DepthMessages,
        settings: Settings,
    ) -> None:
        """Report parts that are out of range or have too little depth."""
        options = settings.depth_options
        missing = len(masks.parts) - len(parts)
        outside = depths_out_of_range(
            masks, parts, depth_m, options.depth_range, options.min_coverage
        )
        if outside:
            count, encoding = len(masks.parts), _encoding(messages.depth)
            self._report_range(camera, outside, count, encoding, settings)
        if missing > len(outside):
            self._report_coverage(camera, missing - len(outside), len(masks.parts), settings)

    def _report_range(
        self,
        camera: CameraStream,
        outside: Sequence[float],
        count: int,
        encoding: str,
        settings: Settings,
    ) -> None:
        near, far = settings.depth_range
        shown = ", ".join(f"{depth:.2f} m" for depth in sorted(outside)[:3])
        hint = "raise depth_range if these parts are really so far away"
        if max(outside) >= _MILLIMETRES:
            hint = "depth_scale is the length of one step of 16-bit depth, metres: 0.001 for millimetres"
            if encoding.startswith("32FC1"):
                hint = "32FC1 depth is read as metres (REP 118), and these look like millimetres: let the driver "
                hint += "send 16UC1 in millimetres, or metres"
        elif max(outside) < near:
            hint = "lower the near end of depth_range if these parts are really so close; depth_scale is the "
            hint += "length of one step of 16-bit depth, metres"
        message = (
            f"{len(outside)} of {count} parts are at {shown}; depth_range is {near} to {far} m"
        )
        name = camera.name
        self._faults.report(Fault.DEPTH_RANGE, WARN, message, hint, kind=encoding, camera=name)

    def _report_coverage(
        self, camera: CameraStream, missing: int, count: int, settings: Settings
    ) -> None:
        min_coverage = f"{settings.min_depth_coverage:.0%}"
        message = (
            f"{missing} of {count} parts have depth on less than {min_coverage} of their pixels"
        )
        hint = "for thin or shiny parts lower min_depth_coverage, or move the camera closer"
        self._faults.report(Fault.DEPTH_COVERAGE, WARN, message, hint, camera=camera.name)


def _encoding(message: Image | CompressedImage) -> str:
    return str(message.encoding if isinstance(message, Image) else message.format)


def _chosen_by_depth(masks: PartMasks) -> tuple[PartQuery, ...]:
    """Queries with parts that choose by depth."""
    found = {part.query for part in masks.parts}
    return tuple(q for q in masks.queries if q.which in BY_DEPTH and q in found)
