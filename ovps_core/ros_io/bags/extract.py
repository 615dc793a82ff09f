"""Extraction of a data set from a recording: images, depth, COCO annotations and a manifest."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from tqdm import tqdm

from ovps_core.datasets.coco_categories import CategoryTable
from ovps_core.datasets.coco_check import NOT_EXHAUSTIVE
from ovps_core.datasets.coco_folder import ANNOTATIONS
from ovps_core.datasets.posed_camera import CAMERA, DEPTH_FILE, PosedCamera
from ovps_core.datasets.pseudo_labels import pseudo_label
from ovps_core.errors import (
    CameraError,
    CameraInfoError,
    DatasetError,
    DepthFrameError,
    ImageError,
    QueryError,
    RecordingError,
)
from ovps_core.ros_io.bags.reading import (
    COMPRESSED,
    BagFrame,
    BagFrames,
    BagTopics,
    open_bag,
)
from ovps_core.ros_io.bags.transforms import Transforms, static_transforms
from ovps_core.ros_io.camera_info import AUTO
from ovps_core.ros_io.codec import image_rgb, masks_value
from ovps_core.ros_io.depth_frames import (
    STAMP_SLOP_S,
    DepthMessages,
    DepthOptions,
    aligned_depth,
    colour_camera,
)
from ovps_core.structures.image_files import encode_image, is_upright, save_image
from ovps_core.structures.masks import PartMask
from ovps_core.structures.whole_files import write_json, write_whole

MANIFEST = "manifest.json"
_SUFFIXES = {b"\xff\xd8": "jpg", b"\x89P": "png"}


@dataclass(frozen=True)
class ExtractOptions:
    """Options of :func:`extract`.

    Attributes:
        every: keep every n-th image.
        min_motion: minimum motion since the last image kept, pixels, see :func:`motion`; 0 keeps all images.
        slop_s: maximum difference of the stamps of an image and its depth, seconds.
        depth_scale: metres of one step of 16-bit depth.
        check_frames: whether the frames of colour and depth must agree.
        fixed_frame: frame in which the scene stands still, such as odom or the base of an arm: images get a
            ``camera`` with its pose in it (:mod:`ovps_core.datasets.posed_camera`), or are counted in the
            manifest as ``without_pose``; "" for none.
        image_geometry: whether the images are rectified: auto, raw or rectified; only for the pose's camera.
    """

    every: int = 1
    min_motion: float = 0.0
    slop_s: float = STAMP_SLOP_S
    depth_scale: float = 0.001
    check_frames: bool = True
    fixed_frame: str = ""
    image_geometry: str = AUTO


def extract(
    bag: str | Path, topics: BagTopics, out: str | Path, options: ExtractOptions | None = None
) -> dict[str, Any]:
    """Write a recording as a data set that :class:`~ovps_core.datasets.coco_folder.CocoFolder` reads.

    ::

        OUT/frames/<stamp in ns>.jpg or .png    JPEG files are copied as they are, unless EXIF turns them
        OUT/depth/<stamp in ns>.png             16 bits, millimetres, 0 is "not measured"
        OUT/annotations.json                    COCO, with object, part, query, score, track_id, camera K and P
        OUT/manifest.json                       written last: digest, topics, counts, images left out

    Images without depth or masks are left out and counted, if ``topics`` names such topics. Depth of another
    frame or size than the image is none of its own. Nothing is written if no image can be used.

    Args:
        bag: the recording, a rosbag2 folder or file.
        topics: topics of the recording to read.
        out: folder of the data set.
        options: selection of images; all of them if not given.

    Returns:
        The manifest.

    Raises:
        RecordingError: the recording, a topic or the fixed frame does not exist.
        DatasetError: OUT holds a data set already.
    """
    options, out = options or ExtractOptions(), Path(out)
    if (out / MANIFEST).exists() or (out / ANNOTATIONS).exists():
        raise DatasetError(f"{out} holds a data set already; give another folder, or remove it")
    required = frozenset({"depth", "masks"} & set(topics.named))
    with open_bag(bag) as reader:
        sha256 = digest(bag)  # before OUT is made, which may lie in the recording's folder
        frames = BagFrames(reader, topics, options.slop_s, required)
        transforms = _transforms(reader, options.fixed_frame)
        writer = _Writer(out, options, frames.drops, topics.image, transforms)
        for number, frame in enumerate(tqdm(frames, "extract", unit="image", disable=None)):
            if number % options.every:
                frames.drops["between those kept"] += 1
            else:
                writer.add(frame)
        counts = _messages_by_topic(reader)
        tf_static = list(static_transforms(reader).by_child.values())
    manifest = {
        "bag": {"name": Path(bag).name, "sha256": sha256},
        "topics": {
            role: {"name": topic, "messages": counts[topic]} for role, topic in topics.named.items()
        },
        "options": asdict(options),
        "images": len(writer.coco["images"]),
        "annotations": len(writer.coco["annotations"]),
        "dropped": dict(frames.drops),
        "without_pose": dict(writer.without_pose),
        "tf_static": tf_static,
    }
    if not writer.coco["images"]:
        return manifest  # so that a corrected command can have the same folder
    writer.mark_what_was_not_asked()
    write_json(out / ANNOTATIONS, {**writer.coco, "categories": writer.categories.entries})
    write_json(out / MANIFEST, manifest)
    return manifest


def _transforms(reader: AnyReader, fixed_frame: str) -> Transforms | None:
    """Frames of a recording over time; None if no frame is asked for.

    Raises:
        RecordingError: the recording does not have this frame.
    """
    if not fixed_frame:
        return None
    transforms = Transforms(reader)
    if fixed_frame not in transforms.frames:
        known = (
            ", ".join(sorted(transforms.frames))
            or "none: nothing was recorded on /tf and /tf_static"
        )
        raise RecordingError(f"the recording has no frame {fixed_frame!r}; it has {known}")
    return transforms


def _messages_by_topic(reader: AnyReader) -> Counter[str]:
    counts: Counter[str] = Counter()
    for connection in reader.connections:
        counts[connection.topic] += connection.msgcount
    return counts


def digest(bag: str | Path) -> str:
    """SHA-256 of a recording's files, in the order of their names; folders in it are no part of it."""
    path = Path(bag)
    total = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if not file.is_file():
            continue
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
    return total.hexdigest()


@dataclass
class _Writer:
    """Writes frames and collects their annotations."""

    out: Path
    options: ExtractOptions
    drops: Counter[str]
    image_topic: str
    transforms: Transforms | None
    without_pose: Counter[str] = field(default_factory=Counter)
    coco: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"images": [], "annotations": []}
    )
    categories: CategoryTable = field(default_factory=CategoryTable)
    _asked: list[set[tuple[str, str]]] = field(default_factory=list)
    _last: NDArray[np.uint8] | None = None

    def add(self, frame: BagFrame) -> None:
        """Write one frame, or count the reason for leaving it out."""
        try:
            if self.options.min_motion > 0 and not self._has_moved(frame):
                self.drops["too little motion"] += 1
                return
            suffix, data, height, width = encoded_image(frame.image)
            depth = self._depth(frame, height, width)
            masks = None if frame.masks is None else masks_value(frame.masks)
        except DepthFrameError:
            self.drops["depth of another frame; --ignore-frames accepts it"] += 1
            return
        except CameraError:
            self.drops["depth of another size than the image"] += 1
            return
        except (ImageError, QueryError) as error:
            self.drops[f"unreadable: {error}"] += 1
            return
        if masks is not None and (masks.height, masks.width) != (height, width):
            self.drops["masks of another size than the image"] += 1
            return
        entry: dict[str, Any] = {
            "id": len(self.coco["images"]) + 1,
            "file_name": f"frames/{frame.stamp_ns}.{suffix}",
            "height": height,
            "width": width,
            "stamp_ns": frame.stamp_ns,
            "frame_id": frame.image.header.frame_id,
        }
        write_whole(self.out / entry["file_name"], data)
        if depth is not None:
            entry[DEPTH_FILE] = f"depth/{frame.stamp_ns}.png"
            save_image(self.out / entry[DEPTH_FILE], depth)
        if frame.info is not None:
            entry["camera_k"] = [float(value) for value in frame.info.k]
            entry["camera_p"] = [float(value) for value in frame.info.p]
            entry["distortion"] = [float(value) for value in frame.info.d]
            entry["distortion_model"] = frame.info.distortion_model
        if self.transforms is not None:
            try:
                entry[CAMERA] = self._camera(frame, self.transforms, height, width).entry()
            except CameraError as error:
                self.without_pose[str(error)] += 1
        if masks is not None:
            entry["queries"] = [query.text for query in masks.queries]  # found or not
            self._asked.append({(query.object, query.part) for query in masks.queries})
            for query in masks.queries:  # what was not found has a category too, to be drawn
                self.categories.id_of(query.object, query.part)
        self.coco["images"].append(entry)
        for part in () if masks is None else masks.parts:
            self._annotate(entry["id"], part, height, width)

    def mark_what_was_not_asked(self) -> None:
        """Mark categories as unknown in images of which the model was not asked for them."""
        for entry, asked in zip(self.coco["images"], self._asked, strict=False):
            unknown = [
                category["id"]
                for category in self.categories.entries
                if (category["object"], category["part"]) not in asked
            ]
            if unknown:
                entry[NOT_EXHAUSTIVE] = unknown

    def _depth(self, frame: BagFrame, height: int, width: int) -> NDArray[np.uint16] | None:
        if frame.depth is None:
            return None
        options = DepthOptions(self.options.depth_scale, check_frames=self.options.check_frames)
        own = frame.image.header
        return _millimetres(aligned_depth(frame.depth, own, height, width, options))

    def _camera(
        self, frame: BagFrame, transforms: Transforms, height: int, width: int
    ) -> PosedCamera:
        """Camera of an image and its pose in the fixed frame.

        Raises:
            CameraError: there is no camera_info, it cannot be used, or no transform is known at that time.
        """
        if frame.info is None:
            raise CameraInfoError("no camera_info")
        options, own = self.options, frame.image.header
        messages = DepthMessages(frame.depth, frame.info, image_topic=self.image_topic)
        depth = DepthOptions(
            image_geometry=options.image_geometry, check_frames=options.check_frames
        )
        camera = colour_camera(messages, own, height, width, depth)
        pose = transforms.at(frame.stamp_ns).find(options.fixed_frame, own.frame_id)
        if pose is None:
            raise CameraError(f"no transform from {own.frame_id!r} to {options.fixed_frame!r}")
        return PosedCamera(camera, pose)

    def _annotate(self, image_id: int, part: PartMask, height: int, width: int) -> None:
        ids = {
            "id": len(self.coco["annotations"]) + 1,
            "image_id": image_id,
            "category_id": self.categories.id_of(part.query.object, part.query.part),
        }
        self.coco["annotations"].append({**ids, **pseudo_label(part, height, width)})

    def _has_moved(self, frame: BagFrame) -> bool:
        grey = np.asarray(cv2.cvtColor(image_rgb(frame.image), cv2.COLOR_RGB2GRAY), np.uint8)
        moved = float("inf") if self._last is None else motion(self._last, grey)
        if moved >= self.options.min_motion:
            self._last = grey
        return moved >= self.options.min_motion


def motion(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """Motion between two images, pixels: the 0.9 quantile over corners tracked by Lucas and Kanade (1981).

    Infinite if no corner can be tracked, or the size changed.

    Args:
        before: grey uint8 [H, W].
        after: grey uint8 [H, W].
    """
    if before.shape != after.shape:
        return float("inf")
    corners = cv2.goodFeaturesToTrack(before, 200, 0.01, 8)
    if corners is None:
        return float("inf")
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, corners.copy())
    followed = np.ravel(found) == 1
    if not followed.any():
        return float("inf")
    steps = np.linalg.norm(np.subtract(moved, corners)[followed], axis=-1)
    return float(np.quantile(steps, 0.9))


def encoded_image(message: Any) -> tuple[str, bytes, int, int]:
    """Encode a colour image as (file suffix, file content, height, width).

    A JPEG or PNG of a compressed message is taken as it is, unless it has an EXIF orientation: masks are of the
    pixels as they are stored, and readers of the file would turn them.

    Raises:
        ImageError: the picture is damaged.
    """
    rgb = image_rgb(message)  # raises for damaged pictures, also for those that are copied
    height, width = rgb.shape[:2]
    if message.__msgtype__ == COMPRESSED and not message.format.startswith("bayer_"):
        data = bytes(message.data)
        suffix = _SUFFIXES.get(data[:2])
        if suffix is not None and is_upright(data):
            return suffix, data, height, width
    return "png", encode_image(rgb, ".png"), height, width


def _millimetres(depth_m: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Depth in millimetres; 0 where not measured, or beyond the range of 16 bits."""
    steps = np.nan_to_num(np.rint(depth_m * 1000), nan=0.0)
    return np.where(steps <= 65535, steps, 0).astype(np.uint16)
