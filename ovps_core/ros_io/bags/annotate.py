"""Annotation of a recording: PartMasks and Parts3D on the images' stamps, in a second recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from tqdm import tqdm

from ovps_core.errors import CameraError, CameraInfoError, ImageError, RecordingError
from ovps_core.models.interface import EncodedQueries
from ovps_core.pipeline.objects import (
    choose_by_depth,
    undecided_by_depth,
    without_chosen_by_depth,
)
from ovps_core.pipeline.pose import depths_out_of_range, parts_3d
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.pipeline.tracking import Tracker
from ovps_core.ros_io.bags.messages import message_encoder, typestore
from ovps_core.ros_io.bags.reading import BagFrame, BagFrames, BagTopics, open_bag
from ovps_core.ros_io.bags.transforms import StaticTransforms, static_transforms
from ovps_core.ros_io.codec import PART_MASKS, PARTS_3D, image_rgb
from ovps_core.ros_io.depth_frames import (
    STAMP_SLOP_S,
    DepthMessages,
    DepthOptions,
    colour_camera,
    colour_depth,
)
from ovps_core.segmenter import PartSegmenter, Queries
from ovps_core.structures.camera import CameraIntrinsics
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.part3d import Part3D
from ovps_core.structures.whole_files import unfinished_folder

MASKS_TOPIC, PARTS_3D_TOPIC = "/ovps/masks", "/ovps/parts_3d"


@dataclass(frozen=True)
class AnnotateOptions:
    """Options of :func:`annotate`; names and defaults are those of the node's parameters.

    Attributes:
        segment: thresholds and limits of the segmenter.
        slop_s: maximum difference of the stamps of an image and its depth, seconds.
        depth: options for depth.
    """

    segment: SegmentOptions = SegmentOptions()
    slop_s: float = STAMP_SLOP_S
    depth: DepthOptions = DepthOptions()


def annotate(
    bag: str | Path,
    topics: BagTopics,
    out: str | Path,
    segmenter: PartSegmenter,
    queries: Queries,
    options: AnnotateOptions | None = None,
) -> Counter[str]:
    """Segment every image of a recording and write the results to a second recording.

    ``/ovps/masks`` gets one message for every image that can be read, ``/ovps/parts_3d`` one for every image
    that has depth and camera_info. Headers and record times are those of the images, so both recordings can
    be played side by side.

    With a segmenter that was promised depth, "nearest" and "farthest" are chosen by this depth. In an image
    without it they have no parts.

    Args:
        bag: the recording, a rosbag2 folder or file.
        topics: topics of the recording to read.
        out: folder of the new recording.
        segmenter: the model.
        queries: parts to look for.
        options: thresholds; the node's defaults if not given.

    Returns:
        Number of images, masks and parts in 3D, and of images or depth left out, by reason.

    Raises:
        RecordingError: the recording or a topic does not exist, or ``out`` exists already.
        QueryError: none of the queries can be answered.
        OutputError: the new recording cannot be written.
    """
    options, out = options or AnnotateOptions(), Path(out)
    encoded = segmenter.encode_queries(queries)
    if out.exists():
        raise RecordingError(f"{out} exists already; give another name, or remove it")
    with open_bag(bag) as reader:
        frames = BagFrames(reader, topics, options.slop_s)
        plugin = _storage(Path(bag))
        with (
            unfinished_folder(out) as folder,
            Writer(folder, version=Writer.VERSION_LATEST, storage_plugin=plugin) as writer,
        ):
            transforms = static_transforms(reader)
            recorder = _Recorder(writer, segmenter, encoded, options, topics, transforms)
            for frame in tqdm(frames, "annotate", unit="image", disable=None):
                recorder.add(frame)
    return recorder.counts + frames.drops


class _Recorder:
    """Segments frames and writes the results."""

    def __init__(
        self,
        writer: Writer,
        segmenter: PartSegmenter,
        queries: EncodedQueries,
        options: AnnotateOptions,
        topics: BagTopics,
        transforms: StaticTransforms,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._writer, self._segmenter, self._queries = writer, segmenter, queries
        self._options, self._topics, self._transforms = options, topics, transforms
        self._tracker = Tracker()
        written = {PART_MASKS: MASKS_TOPIC, **({PARTS_3D: PARTS_3D_TOPIC} if topics.depth else {})}
        self._connections = {
            type_name: writer.add_connection(topic, type_name, typestore=typestore())
            for type_name, topic in written.items()
        }

    def add(self, frame: BagFrame) -> None:
        """Segment one frame and write the result, or count the reason for leaving it out."""
        try:
            image = image_rgb(frame.image)
        except ImageError as error:
            self.counts[f"unreadable: {error}"] += 1
            return
        masks = self._segmenter.segment(image, self._queries, self._options.segment)
        masks = self._tracker.update(masks, stamp_s=frame.stamp_ns / 1e9)
        header = message_encoder.header(frame.stamp_ns, frame.image.header.frame_id)
        masks, in_3d = self._with_depth(frame, masks)
        self._write(frame, PART_MASKS, message_encoder.masks(masks, header))
        self.counts["images"] += 1
        self.counts["masks"] += len(masks.parts)
        if in_3d is not None:
            camera, parts = in_3d
            message = message_encoder.parts_3d(parts, header, camera.height, camera.width)
            self._write(frame, PARTS_3D, message)
            self.counts["parts in space"] += len(parts)

    def _with_depth(
        self, frame: BagFrame, masks: PartMasks
    ) -> tuple[PartMasks, tuple[CameraIntrinsics, tuple[Part3D, ...]] | None]:
        """Masks after the choice by depth; camera and parts in 3D, or None without usable depth."""
        without = without_chosen_by_depth(masks), None
        if PARTS_3D not in self._connections:
            return without
        if frame.depth is None or frame.info is None:
            self.counts["no depth" if frame.depth is None else "no camera_info"] += 1
            return without
        topics, options = self._topics, self._options.depth
        messages = DepthMessages(
            frame.depth, frame.info, frame.depth_info, topics.image, topics.depth
        )
        own, limit = frame.image.header, self._options.segment.max_parts
        try:
            camera = colour_camera(messages, own, masks.height, masks.width, options)
            depth = colour_depth(messages, own, camera, options, self._transforms.find)
            chosen = choose_by_depth(masks, depth, options.depth_range, limit)
            parts = parts_3d(chosen, depth, camera, options.depth_range, options.min_coverage)
        except CameraInfoError as error:
            self.counts[f"unusable camera_info: {error}"] += 1
            return without
        except (CameraError, ImageError) as error:
            self.counts[f"unusable depth: {error}"] += 1
            return without
        for query in undecided_by_depth(masks, chosen, depth, options.depth_range):
            self.counts[f"{query.which} not known, without depth"] += 1
        self._count_missing(chosen, parts, depth)
        return chosen, (camera, parts)

    def _count_missing(
        self, masks: PartMasks, parts: Sequence[Part3D], depth: NDArray[np.float32]
    ) -> None:
        options = self._options.depth
        outside = depths_out_of_range(
            masks, parts, depth, options.depth_range, options.min_coverage
        )
        little = len(masks.parts) - len(parts) - len(outside)
        for reason, count in (
            ("parts out of range", len(outside)),
            ("parts without depth", little),
        ):
            if count:
                self.counts[reason] += count

    def _write(self, frame: BagFrame, type_name: str, message: Any) -> None:
        data = typestore().serialize_cdr(message, type_name)
        self._writer.write(self._connections[type_name], frame.recorded_ns, data)


def _storage(bag: Path) -> StoragePlugin:
    """Storage format of the recording; the machine that it came from can read this format."""
    files = bag.iterdir() if bag.is_dir() else [bag]
    sqlite = any(".db3" in file.name for file in files)
    return StoragePlugin.SQLITE3 if sqlite else StoragePlugin.MCAP
