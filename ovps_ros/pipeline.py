"""Path of a frame from message to result: segmentation of all cameras in one batch, tracking, depth."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ovps_core.errors import DeviceMemoryError, ImageError, QueryError, UsageError
from ovps_core.models.interface import EncodedQueries
from ovps_core.pipeline.objects import check_objects
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.ros_io.codec import image_rgb, masks_value, nanoseconds
from ovps_core.ros_io.recorded import RecordedSegmenter
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.masks import ObjectMask, PartMasks
from ovps_ros.cameras import CameraStream
from ovps_ros.depth_stage import DepthStage
from ovps_ros.depth_sync import SAME_STAMP
from ovps_ros.diagnostics import ERROR, WARN, Fault, FaultReporter
from ovps_ros.frame_result import FrameResult
from ovps_ros.latest_frames import Frame, LatestFrames
from ovps_ros.parameters import Settings

_MAX_MEMORY_FAILURES = 3  # frames in a row


class Pipeline:
    """Frames to results, with one model for all cameras.

    Args:
        segmenter: the model.
        cameras: cameras by name, with their trackers and depth buffers.
        faults: reporter for problems with a frame.
        depth: stage that adds depth to the masks of a frame.
    """

    def __init__(
        self,
        segmenter: PartSegmenter | RecordedSegmenter,
        cameras: Mapping[str, CameraStream],
        faults: FaultReporter,
        depth: DepthStage,
    ) -> None:
        self.segmenter = segmenter
        self._cameras = cameras
        self._faults = faults
        self._depth = depth

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
            camera = self._cameras[frame.camera]
            for buffer in filter(None, (camera.depth, camera.objects)):
                # newer ones would push it out while the model runs
                buffer.reserve(nanoseconds(frame.message.header.stamp), frame.arrived_at)
        images = [rgb for _, rgb in readable]
        if not images:
            return []
        masks, model_s = self._segment(images, readable, queries, settings)
        return [
            replace(self._finish(frame, rgb, one, settings), model_s=model_s)
            for (frame, rgb), one in zip(readable, masks, strict=True)
        ]

    def _segment(
        self,
        images: Sequence[RgbImage],
        frames: Sequence[tuple[Frame, RgbImage]],
        queries: EncodedQueries,
        settings: Settings,
    ) -> tuple[list[PartMasks], float]:
        """(masks, seconds that the model took), without the wait for objects of another node."""
        options, segmenter = settings.options, self.segmenter
        if isinstance(segmenter, RecordedSegmenter):
            stamps = [nanoseconds(frame.message.header.stamp) for frame, _ in frames]
            start = time.monotonic()
            masks = segmenter.segment_frames(images, stamps, queries, options)
        else:
            objects = [self._known_objects(frame, rgb, settings) for frame, rgb in frames]
            start = time.monotonic()
            masks = segmenter.segment_batch(images, queries, options, objects=objects)
        return masks, time.monotonic() - start

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
                camera=frame.camera,
            )
            return None

    def _known_objects(
        self, frame: Frame, rgb: RgbImage, settings: Settings
    ) -> tuple[ObjectMask, ...] | None:
        """Objects that another node finds in a frame; None if the segmenter looks for them itself."""
        camera = self._cameras[frame.camera]
        if camera.objects is None:
            return None
        stamp = nanoseconds(frame.message.header.stamp)
        if stamp:  # those of another image would lie elsewhere
            timeout = settings.object_timeout
            found, reason = camera.objects.take_nearest(stamp, SAME_STAMP, timeout)
        else:
            found, reason = None, "the colour image has no stamp, by which its objects are found"
        if found is None:
            hint = (
                "remap objects to the topic of the detector, let it send the image's own stamp, and raise "
                "object_timeout to its latency"
            )
            if camera.objects.is_empty:
                cause, hint = camera.explain_silence("objects")
                reason += f": {cause}"
            self._report_objects(frame.camera, WARN, reason, hint, "missing")
            return ()
        try:
            known, (height, width) = masks_value(found), rgb.shape[:2]
            if (known.height, known.width) != (height, width):
                raise ImageError(
                    f"objects of an image of {known.width}x{known.height} pixels, but it has {width}x{height}"
                )
            check_objects(known.objects, height, width)
            return known.objects
        except (ImageError, QueryError, UsageError) as error:
            hint = "fill in height and width of the image, and ids from 1: see 'Objects' in docs/robot.md"
            self._report_objects(frame.camera, ERROR, str(error), hint, "damaged")
            return ()

    def _report_objects(
        self, camera: str, level: bytes, message: str, hint: str, kind: str
    ) -> None:
        self._faults.report(Fault.OBJECTS, level, message, hint, kind=kind, camera=camera)

    def _finish(
        self, frame: Frame, rgb: RgbImage, masks: PartMasks, settings: Settings
    ) -> FrameResult:
        camera, header = self._cameras[frame.camera], frame.message.header
        if settings.tracking:
            stamp_s = nanoseconds(header.stamp) / 1e9 or frame.arrived_at
            masks = camera.tracker.update(masks, settings.track_iou, stamp_s=stamp_s)
        if camera.depth is None:
            return FrameResult(frame.camera, header, rgb, masks, None, frame.arrived_at)
        masks, in_3d, undecided = self._depth.add(camera, frame, masks, settings)
        return FrameResult(frame.camera, header, rgb, masks, in_3d, frame.arrived_at, undecided)


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
        self._started_at: float | None = None
        self._last_s = 0.0

    @property
    def seconds_per_frame(self) -> float:
        """Time that the last frames took, or those that are processed now, if that is already longer."""
        started_at = self._started_at
        return max(self._last_s, time.monotonic() - started_at if started_at else 0.0)

    def run(self) -> None:
        """Process frames until :meth:`stop`."""
        failures = 0
        while not self._stopping.is_set():
            frames = self._frames.take(timeout=0.2)
            if not frames:
                continue
            started_at = self._started_at = time.monotonic()
            try:
                self._process(frames)
                failures = 0
            except DeviceMemoryError as error:
                failures += 1
                hint = "use a smaller model, precision fp16, fewer queries or fewer cameras"
                gave_up = failures == _MAX_MEMORY_FAILURES
                self._faults.report(Fault.MEMORY, ERROR, str(error), hint, lasts=gave_up)
                if gave_up:
                    self._on_repeated_failure()
            except Exception as error:  # one bad frame must not end the worker
                message = f"{type(error).__name__}: {error}"
                self._faults.report(Fault.FRAME, ERROR, message, kind=type(error).__name__)
            finally:
                self._last_s, self._started_at = time.monotonic() - started_at, None

    def stop(self) -> None:
        """End the thread after the frames that it is processing."""
        self._stopping.set()
        self.join(timeout=10.0)
