"""From frames to answers: the newest image of every camera goes through one model, then tracking and depth."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from std_msgs.msg import Header

from ovps_core.errors import ImageError
from ovps_core.models.interface import EncodedQueries
from ovps_core.pipeline.pose import CameraIntrinsics, Part3D, parts_3d
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.pipeline.tracking import Tracker
from ovps_core.ros_io.codec import camera_intrinsics, image_depth, image_rgb
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.masks import PartMasks
from ovps_ros.depth_sync import DepthBuffer
from ovps_ros.diagnostics import ERROR, WARN, FaultReporter
from ovps_ros.latest_frames import Frame, LatestFrames
from ovps_ros.messages import nanoseconds
from ovps_ros.parameters import Settings


@dataclass(frozen=True)
class FrameResult3D:
    """The 3D side of an answer.

    Attributes:
        header: the image's, in the frame that the poses stand in.
        depth_m: float32 [H, W], NaN where nothing was measured.
        camera: of the colour image.
        parts: those with enough depth.
    """

    header: Header
    depth_m: NDArray[np.float32] = field(repr=False)
    camera: CameraIntrinsics
    parts: tuple[Part3D, ...]


@dataclass(frozen=True)
class FrameResult:
    """All that is known of one image.

    Attributes:
        camera: name; "" where there is only one.
        header: the image's own.
        rgb: uint8 [H, W, 3].
        masks: what was found.
        space: None without depth for this image.
    """

    camera: str
    header: Header
    rgb: RgbImage = field(repr=False)
    masks: PartMasks
    space: FrameResult3D | None = None


Place = Callable[[Header, tuple[Part3D, ...]], tuple[Header, tuple[Part3D, ...]]]


class Pipeline:
    """One model for all cameras, and per camera a tracker and a depth buffer.

    Args:
        segmenter: the model.
        depth: buffer of every camera that has depth.
        faults: where to tell what is wrong with a frame.
        place: puts parts into the target frame; raises LookupError where the transform is missing.
    """

    def __init__(
        self,
        segmenter: PartSegmenter,
        depth: dict[str, DepthBuffer],
        faults: FaultReporter,
        place: Place,
    ) -> None:
        self.segmenter = segmenter
        self._depth = depth
        self._faults = faults
        self._place = place
        self._trackers: dict[str, Tracker] = {}

    def answer(
        self, frames: Sequence[Frame], plan: EncodedQueries, settings: Settings
    ) -> list[FrameResult]:
        """Answers to every frame that can be read, in one pass of the network."""
        readable = [(frame, rgb) for frame in frames if (rgb := self._read(frame)) is not None]
        for frame, _ in readable:
            if frame.camera in self._depth:  # newer ones would push it out while the model runs
                self._depth[frame.camera].hold(nanoseconds(frame.message.header.stamp))
        images = [rgb for _, rgb in readable]
        results = self.segmenter.segment_batch(images, plan, settings.options) if images else []
        return [
            self._finish(frame, rgb, masks, settings)
            for (frame, rgb), masks in zip(readable, results, strict=True)
        ]

    def _read(self, frame: Frame) -> RgbImage | None:
        try:
            return image_rgb(frame.message)
        except ImageError as error:
            encoding = getattr(frame.message, "encoding", "") or getattr(
                frame.message, "format", ""
            )
            self._faults.report(
                "image",
                ERROR,
                str(error),
                "set the driver's pixel format, or convert with image_proc",
                kind=str(encoding),
            )
            return None

    def _finish(
        self, frame: Frame, rgb: RgbImage, masks: PartMasks, settings: Settings
    ) -> FrameResult:
        header = frame.message.header
        if settings.tracking:
            tracker = self._trackers.setdefault(frame.camera, Tracker())
            tracker.iou = settings.track_iou
            masks = tracker.update(masks)
        space = None
        if frame.camera in self._depth:
            space = self._space(self._depth[frame.camera], header, masks, settings)
        return FrameResult(frame.camera, header, rgb, masks, space)

    def _space(
        self, buffer: DepthBuffer, header: Header, masks: PartMasks, settings: Settings
    ) -> FrameResult3D | None:
        message, why_not = buffer.match(nanoseconds(header.stamp), settings.sync_slop)
        if message is None or buffer.info is None:
            self._faults.report(
                "depth",
                WARN,
                why_not or "no camera_info has come",
                "remap depth and camera_info; raise sync_slop for a camera that is not synchronised",
                kind="missing",
            )
            return None
        try:
            depth_m = image_depth(message, settings.depth_scale)
            camera = camera_intrinsics(buffer.info)
            if depth_m.shape != (masks.height, masks.width):
                raise ImageError(
                    f"depth of {depth_m.shape[1]}x{depth_m.shape[0]}, colour of "
                    f"{masks.width}x{masks.height}; expected depth aligned to colour"
                )
            found = parts_3d(
                masks, depth_m, camera, settings.depth_range, settings.min_depth_coverage
            )
            header, found = self._place(header, found)
        except LookupError as error:
            hint = "is the camera in the robot's TF tree, and its clock the robot's?"
            self._faults.report("transform", WARN, str(error), hint)
            return None
        except ImageError as error:
            hint = "ask the driver for depth registered to colour (RealSense: align_depth.enable)"
            self._faults.report("depth", ERROR, str(error), hint, kind=message.encoding)
            return None
        if len(found) < len(masks.parts):
            lacking = len(masks.parts) - len(found)
            self._faults.report(
                "depth coverage",
                WARN,
                f"{lacking} of {len(masks.parts)} parts have depth on less than "
                f"{settings.min_depth_coverage:.0%} of their pixels",
                "thin or shiny parts: lower min_depth_coverage, or look from nearer",
            )
        return FrameResult3D(header, depth_m, camera, found)


class Worker(threading.Thread):
    """Takes the newest frames as soon as the last ones are answered; owns the model's device.

    Args:
        slot: where frames come from.
        handle: what is done with them.
        faults: told of whatever ``handle`` raises; the worker goes on.
        exhausted: called after three frames in a row for which the device had no memory.
    """

    def __init__(
        self,
        slot: LatestFrames,
        handle: Callable[[list[Frame]], Any],
        faults: FaultReporter,
        exhausted: Callable[[], Any],
    ) -> None:
        super().__init__(name="ovps worker", daemon=True)
        self._slot, self._handle, self._faults, self._exhausted = slot, handle, faults, exhausted
        self._stopping = threading.Event()

    def run(self) -> None:
        """Until :meth:`stop`."""
        failures = 0
        while not self._stopping.is_set():
            frames = self._slot.take(timeout=0.2)
            if not frames:
                continue
            try:
                self._handle(frames)
                failures = 0
            except torch.OutOfMemoryError as error:
                failures += 1
                hint = "a smaller model, precision fp16, fewer queries or fewer cameras"
                self._faults.report("memory", ERROR, str(error).split(". ")[0], hint)
                torch.cuda.empty_cache()
                if failures == 3:
                    self._exhausted()
            except Exception as error:  # the next frame may be well
                message = f"{type(error).__name__}: {error}"
                self._faults.report("frame", ERROR, message, kind=type(error).__name__)

    def stop(self) -> None:
        """After the frame in hand."""
        self._stopping.set()
        self.join(timeout=10.0)
