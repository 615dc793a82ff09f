"""Path of a frame from message to result: segmentation of all cameras in one batch, tracking, depth."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from std_msgs.msg import Header

from ovps_core.errors import CameraError, ImageError
from ovps_core.models.interface import EncodedQueries
from ovps_core.pipeline.pose import parts_3d
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.ros_io.codec import camera_intrinsics, image_depth, image_rgb, nanoseconds
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.masks import PartMasks
from ovps_ros.cameras import CameraStream
from ovps_ros.depth_sync import DepthBuffer
from ovps_ros.diagnostics import ERROR, WARN, Fault, FaultReporter
from ovps_ros.frame_result import FrameResult, FrameResult3D
from ovps_ros.latest_frames import Frame, LatestFrames
from ovps_ros.parameters import Settings
from ovps_ros.transforms import TargetFrame, TransformError

_MAX_MEMORY_FAILURES = 3  # frames in a row


class Pipeline:
    """Frames to results, with one model for all cameras.

    Args:
        segmenter: the model.
        cameras: cameras by name, with their trackers and depth buffers.
        faults: reporter for problems with a frame.
        target_frame: frame of the parts' poses; None leaves them in the optical frame.
    """

    def __init__(
        self,
        segmenter: PartSegmenter,
        cameras: Mapping[str, CameraStream],
        faults: FaultReporter,
        target_frame: TargetFrame | None,
    ) -> None:
        self.segmenter = segmenter
        self._cameras = cameras
        self._faults = faults
        self._target_frame = target_frame

    def process(
        self, frames: Sequence[Frame], queries: EncodedQueries, settings: Settings
    ) -> list[FrameResult]:
        """Segment every readable frame in one pass of the network, then track parts and add depth.

        With depth this may wait: for each camera up to ``settings.sync_slop`` seconds for a depth image that has
        not arrived yet, and up to ``settings.tf_timeout`` seconds for the transform.

        Args:
            frames: at most one per camera.
            queries: parts to look for.
            settings: settings for all stages; changes take effect with the next frames.

        Returns:
            Results in the order of the frames, without those that cannot be read.
        """
        readable = [(frame, rgb) for frame in frames if (rgb := self._read(frame)) is not None]
        for frame, _ in readable:
            depth = self._cameras[frame.camera].depth
            if depth is not None:  # newer ones would push it out while the model runs
                depth.reserve(nanoseconds(frame.message.header.stamp))
        images = [rgb for _, rgb in readable]
        if not images:
            return []
        masks = self.segmenter.segment_batch(images, queries, settings.options)
        return [
            self._finish(frame, rgb, one, settings)
            for (frame, rgb), one in zip(readable, masks, strict=True)
        ]

    def _read(self, frame: Frame) -> RgbImage | None:
        message = frame.message
        try:
            return image_rgb(message)
        except ImageError as error:
            encoding = getattr(message, "encoding", "") or getattr(message, "format", "")
            self._faults.report(
                Fault.IMAGE,
                ERROR,
                str(error),
                "set the driver's pixel format, or convert with image_proc",
                kind=str(encoding),
            )
            return None

    def _finish(
        self, frame: Frame, rgb: RgbImage, masks: PartMasks, settings: Settings
    ) -> FrameResult:
        camera, header = self._cameras[frame.camera], frame.message.header
        if settings.tracking:
            masks = camera.tracker.update(masks, settings.track_iou)
        in_3d = None
        if camera.depth is not None:
            in_3d = self._add_depth(camera.depth, header, masks, settings)
        return FrameResult(frame.camera, header, rgb, masks, in_3d)

    def _add_depth(
        self, buffer: DepthBuffer, header: Header, masks: PartMasks, settings: Settings
    ) -> FrameResult3D | None:
        """Parts in 3D, or None with a fault. May wait for depth and for the transform, see :meth:`process`."""
        message, reason = buffer.take_nearest(nanoseconds(header.stamp), settings.sync_slop)
        if message is None or buffer.info is None:
            self._faults.report(
                Fault.DEPTH,
                WARN,
                reason or "no camera_info has arrived",
                "remap depth and camera_info; raise sync_slop for a camera that is not synchronised",
                kind="missing",
            )
            return None
        try:
            depth_m = image_depth(message, settings.depth_scale)
            camera = camera_intrinsics(buffer.info)
            if depth_m.shape != (masks.height, masks.width):
                raise CameraError(
                    f"depth of {depth_m.shape[1]}x{depth_m.shape[0]}, colour of "
                    f"{masks.width}x{masks.height}; expected depth aligned to colour"
                )
            near_far = settings.depth_range[0], settings.depth_range[1]
            parts = parts_3d(masks, depth_m, camera, near_far, settings.min_depth_coverage)
            if self._target_frame is not None:
                header, parts = self._target_frame.transform(header, parts, settings.tf_timeout)
        except TransformError as error:
            hint = "check that TF contains the camera's frame, and that the clocks are synchronised"
            self._faults.report(Fault.TRANSFORM, WARN, str(error), hint)
            return None
        except (CameraError, ImageError) as error:
            hint = "configure the driver for depth registered to colour (RealSense: align_depth.enable)"
            self._faults.report(Fault.DEPTH, ERROR, str(error), hint, kind=message.encoding)
            return None
        missing = len(masks.parts) - len(parts)
        if missing:
            self._faults.report(
                Fault.DEPTH_COVERAGE,
                WARN,
                f"{missing} of {len(masks.parts)} parts have depth on less than "
                f"{settings.min_depth_coverage:.0%} of their pixels",
                "for thin or shiny parts lower min_depth_coverage, or move the camera closer",
            )
        return FrameResult3D(header, depth_m, camera, parts)


class Worker(threading.Thread):
    """Thread that processes the newest frames as soon as the previous ones are done.

    Args:
        frames: store of the newest frames.
        process: function that processes frames.
        faults: reporter for exceptions of ``process``; the worker goes on with the next frames.
        on_repeated_failure: function called after three frames in a row for which the device had no memory.
    """

    def __init__(
        self,
        frames: LatestFrames,
        process: Callable[[list[Frame]], Any],
        faults: FaultReporter,
        on_repeated_failure: Callable[[], Any],
    ) -> None:
        super().__init__(name="ovps worker", daemon=True)
        self._frames, self._process, self._faults = frames, process, faults
        self._on_repeated_failure = on_repeated_failure
        self._stopping = threading.Event()

    def run(self) -> None:
        """Process frames until :meth:`stop`."""
        failures = 0
        while not self._stopping.is_set():
            frames = self._frames.take(timeout=0.2)
            if not frames:
                continue
            try:
                self._process(frames)
                failures = 0
            except torch.OutOfMemoryError as error:
                failures += 1
                hint = "use a smaller model, precision fp16, fewer queries or fewer cameras"
                self._faults.report(Fault.MEMORY, ERROR, str(error).split(". ")[0], hint)
                torch.cuda.empty_cache()
                if failures == _MAX_MEMORY_FAILURES:
                    self._on_repeated_failure()
            except Exception as error:  # one bad frame must not end the worker
                message = f"{type(error).__name__}: {error}"
                self._faults.report(Fault.FRAME, ERROR, message, kind=type(error).__name__)

    def stop(self) -> None:
        """End the thread after the frames that it is processing."""
        self._stopping.set()
        self.join(timeout=10.0)
