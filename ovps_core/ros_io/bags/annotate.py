"""The segmenter over a recording: PartMasks and Parts3D on the original stamps, as a second recording."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import StoragePlugin, Writer
from tqdm import tqdm

from ovps_core.errors import DatasetError, ImageError
from ovps_core.models.interface import EncodedQueries
from ovps_core.pipeline.pose import DEPTH_RANGE, MIN_COVERAGE, parts_3d
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.pipeline.tracking import Tracker
from ovps_core.ros_io.bags.messages import PART_MASKS, PARTS_3D, MessageMaker, typestore
from ovps_core.ros_io.bags.reading import BagFrame, BagFrames, BagTopics, open_bag
from ovps_core.ros_io.codec import camera_intrinsics, image_depth, image_rgb
from ovps_core.segmenter import PartSegmenter, Queries
from ovps_core.structures.masks import PartMasks

MASKS_TOPIC, PARTS_3D_TOPIC = "/ovps/masks", "/ovps/parts_3d"


@dataclass(frozen=True)
class AnnotateOptions:
    """The node's parameters of the same meaning, with its defaults.

    Attributes:
        segment: what counts as a part.
        track_iou: least overlap to be the same part as in the frame before.
        slop_s: most seconds between the stamps of an image and its depth.
        depth_scale: metres of one step of 16-bit depth.
        depth_range: nearest and farthest usable depth, metres.
        min_coverage: least share of a mask with depth for a part in space.
    """

    segment: SegmentOptions = SegmentOptions()
    track_iou: float = 0.3
    slop_s: float = 0.02
    depth_scale: float = 0.001
    depth_range: tuple[float, float] = DEPTH_RANGE
    min_coverage: float = MIN_COVERAGE


def annotate(
    bag: str | Path,
    topics: BagTopics,
    out: str | Path,
    segmenter: PartSegmenter,
    queries: Queries,
    options: AnnotateOptions | None = None,
) -> Counter[str]:
    """Segment every image of a recording and record the answers as the node publishes them.

    ``/ovps/masks`` gets an answer for every image that can be read, ``/ovps/parts_3d`` for every one
    with depth and camera_info too.  Headers are the images' own and record times the images' record
    times, so that both recordings play side by side.

    Returns:
        Counts of images, masks, parts in space, and of why images or depth were left out.

    Raises:
        DatasetError: no such recording or topic, or ``out`` exists.
        QueryError: a query cannot be read.
    """
    options, out = options or AnnotateOptions(), Path(out)
    plan = segmenter.encode_queries(queries)
    if out.exists():
        raise DatasetError(f"{out} exists already; give another name, or remove it")
    with open_bag(bag) as reader:
        frames = BagFrames(reader, topics, options.slop_s)
        plugin = _storage(Path(bag))
        with Writer(out, version=Writer.VERSION_LATEST, storage_plugin=plugin) as writer:
            recorder = _Recorder(writer, segmenter, plan, options, bool(topics.depth))
            for frame in tqdm(frames, "annotate", unit="image", disable=None):
                recorder.add(frame)
    return recorder.counts + frames.drops


class _Recorder:
    """Answers frames and writes the answers."""

    def __init__(
        self,
        writer: Writer,
        segmenter: PartSegmenter,
        plan: EncodedQueries,
        options: AnnotateOptions,
        in_space: bool,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._writer, self._segmenter, self._plan, self._options = writer, segmenter, plan, options
        self._tracker = Tracker(options.track_iou)
        self._maker = MessageMaker(typestore())
        kinds = {PART_MASKS: MASKS_TOPIC, **({PARTS_3D: PARTS_3D_TOPIC} if in_space else {})}
        self._connections = {
            kind: writer.add_connection(topic, kind, typestore=self._maker.store)
            for kind, topic in kinds.items()
        }

    def add(self, frame: BagFrame) -> None:
        """Answer one frame, or count why not."""
        try:
            image = image_rgb(frame.image)
        except ImageError as error:
            self.counts[f"unreadable: {error}"] += 1
            return
        masks = self._segmenter.segment(image, self._plan, self._options.segment)
        masks = self._tracker.update(masks)
        header = self._maker.header(frame.stamp_ns, frame.image.header.frame_id)
        self._write(frame, PART_MASKS, self._maker.masks(masks, header))
        self.counts["images"] += 1
        self.counts["masks"] += len(masks.parts)
        if PARTS_3D in self._connections:
            self._add_3d(frame, masks, header)

    def _add_3d(self, frame: BagFrame, masks: PartMasks, header: Any) -> None:
        if frame.depth is None or frame.info is None:
            self.counts["no depth" if frame.depth is None else "no camera_info"] += 1
            return
        options = self._options
        try:
            camera = camera_intrinsics(frame.info)
            depth = image_depth(frame.depth, options.depth_scale)
            camera.check_size(depth)
            parts = parts_3d(masks, depth, camera, options.depth_range, options.min_coverage)
        except ImageError as error:
            self.counts[f"unreadable depth: {error}"] += 1
            return
        message = self._maker.parts_3d(parts, header, camera.height, camera.width)
        self._write(frame, PARTS_3D, message)
        self.counts["parts in space"] += len(parts)

    def _write(self, frame: BagFrame, kind: str, message: Any) -> None:
        data = self._maker.store.serialize_cdr(message, kind)
        self._writer.write(self._connections[kind], frame.recorded_ns, data)


def _storage(bag: Path) -> StoragePlugin:
    """The kind of files the recording has: its machine can read that kind."""
    files = bag.iterdir() if bag.is_dir() else [bag]
    sqlite = any(".db3" in file.name for file in files)
    return StoragePlugin.SQLITE3 if sqlite else StoragePlugin.MCAP
