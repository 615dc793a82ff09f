"""Simulated RGB-D camera: a rendered table seen from a moving camera, recorded frames, or a folder of photos.

The frames of one pass of the camera are rendered once at the start and then repeated, so that a machine without
a GPU keeps up with 30 Hz.
"""

from __future__ import annotations

from ovps_ros.interrupts import end_quietly_on_interrupt

if __name__ == "__main__":
    end_quietly_on_interrupt()

import itertools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import qos_profile_system_default
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ovps_core.datasets.coco_folder import ANNOTATIONS, CocoFolder
from ovps_core.datasets.label_files import read_json
from ovps_core.errors import DatasetError
from ovps_core.pipeline.preprocess import image_paths
from ovps_core.structures.boxes import Box
from ovps_core.structures.image_files import load_image, load_labels
from ovps_core.structures.masks import ObjectMask, PartMask, PartMasks
from ovps_core.structures.query import PartQuery
from ovps_core.structures.requirements import require_packages
from ovps_ros.messages import message_encoder
from ovps_ros.msg import PartMasks as PartMasksMsg
from ovps_ros.run_node import run_node

if TYPE_CHECKING:
    from ovps_core.synthetic.live import Frame as LiveFrame

FRAME_ID = "camera_color_optical_frame"
_STEP = 1 / 30  # seconds of simulated time between two frames
PHOTO_SECONDS = 3.0
"""Time for which each photo is shown, seconds."""
RECORDED_SECONDS = 0.5
"""Time for which each recorded frame is shown, seconds."""
_OF_A_FRAME = {"depth", "depth_scale", "K"}  # keys of an image that a depth camera took


@dataclass(frozen=True)
class CameraFrame:
    """Messages of one frame, without a stamp; a photo has neither depth nor ground truth.

    Attributes:
        image: colour image, rgb8.
        depth: depth image, 32FC1, metres.
        info: intrinsics.
        truth: ground truth of the visible parts.
    """

    image: Image
    depth: Image | None = None
    info: CameraInfo | None = None
    truth: PartMasks | None = field(default=None, repr=False)


def rendered_frames(
    objects: Sequence[str], seed: int, width: int, height: int, count: int, spacing: float = 0.0
) -> Iterator[CameraFrame]:
    """Render frames along the path of a camera around a table.

    Args:
        objects: names of the objects on the table.
        seed: seed of the arrangement.
        width: image width, pixels.
        height: image height, pixels.
        count: number of frames.
        spacing: metres that each object keeps free around it.

    Raises:
        OvpsError: an object is unknown, or off-screen OpenGL is not available.
    """
    require_packages("mujoco", "trimesh", extra="render")
    from ovps_core.synthetic.live import LiveScene

    scene = LiveScene(objects, seed=seed, width=width, height=height, spacing=spacing)
    for i in range(count):
        frame = scene.frame(i * _STEP)
        header = Header(frame_id=FRAME_ID)
        yield CameraFrame(
            message_encoder.image(frame.rgb, header),
            message_encoder.image(frame.depth, header),
            _camera_info(frame.intrinsics, width, height),
            _truth_of_objects(frame),
        )
    scene.close()


def photo_frames(folder: Path) -> list[CameraFrame]:
    """Load the photos of a folder.

    Raises:
        ImageError: the folder has no photo, or one cannot be read.
    """
    header = Header(frame_id=FRAME_ID)
    photos = (load_image(path) for path in image_paths(folder))
    return [CameraFrame(message_encoder.image(photo, header)) for photo in photos]


def recorded_frames(folder: Path) -> list[CameraFrame]:
    """Load the frames of a real depth camera in a folder of labelled pictures.

    Args:
        folder: pictures with ``annotations.json``. An image with ``depth`` (a uint16 PNG), ``depth_scale``
            (metres per unit) and ``K`` (3 x 3) is a frame; others are left out.

    Raises:
        DatasetError: the folder or a file in it cannot be read, or no image is a frame.
    """
    labelled = CocoFolder(folder)
    entries = {entry["file_name"]: entry for entry in read_json(folder / ANNOTATIONS)["images"]}
    header = Header(frame_id=FRAME_ID)
    frames = []
    for image in labelled.images:
        entry = entries[image.name]
        if not entry.keys() >= _OF_A_FRAME:
            continue
        rgb = labelled.read(image)
        height, width = rgb.shape[:2]
        depth = load_labels(folder / entry["depth"]) * np.float32(entry["depth_scale"])
        masks = labelled.masks(image, height, width)
        frames.append(
            CameraFrame(
                message_encoder.image(rgb, header),
                message_encoder.image(depth.astype(np.float32), header),
                _camera_info(np.array(entry["K"], np.float64), width, height),
                _truth({(c.object, c.part): mask for c, mask in masks.items()}, width, height),
            )
        )
    if not frames:
        raise DatasetError(
            f"{folder} has no frames of a depth camera; expected images with depth, depth_scale and K in "
            f"{ANNOTATIONS}"
        )
    return frames


def _camera_info(k: NDArray[np.float64], width: int, height: int) -> CameraInfo:
    """Intrinsics of a camera without distortion; ``k`` is float64 [3, 3]."""
    header = Header(frame_id=FRAME_ID)
    info = CameraInfo(header=header, width=width, height=height, distortion_model="plumb_bob")
    info.d, info.k, info.r = [0.0] * 5, k.ravel().tolist(), np.eye(3).ravel().tolist()
    info.p = np.hstack([k, np.zeros((3, 1))]).ravel().tolist()
    return info


def _truth(
    masks: Mapping[tuple[str, str], NDArray[np.bool_]], width: int, height: int
) -> PartMasks:
    parts: list[PartMask] = []
    for (object_name, part_name), mask in masks.items():
        if not mask.any():
            continue
        box, query = Box.of_mask(mask), _query(object_name, part_name)
        parts.append(PartMask(len(parts) + 1, query, 1.0, box, mask[box.slices]))
    queries = tuple(itertools.starmap(_query, masks))
    return PartMasks(height, width, queries, tuple(parts), "truth")


def _truth_of_objects(frame: LiveFrame) -> PartMasks:
    """Objects that are in view, and their parts one by one."""
    objects: list[ObjectMask] = []
    parts: list[PartMask] = []
    for number, shown in enumerate(frame.objects, start=1):
        if not shown.mask.any():
            continue
        box = Box.of_mask(shown.mask)
        objects.append(ObjectMask(number, shown.name, 1.0, box, shown.mask[box.slices], number))
        for part_name, mask in {**shown.parts, "": shown.mask}.items():
            if mask.any():
                box, query = Box.of_mask(mask), _query(shown.name, part_name)
                cut = mask[box.slices]
                parts.append(PartMask(len(parts) + 1, query, 1.0, box, cut, object_id=number))
    queries = tuple(itertools.starmap(_query, frame.masks))
    height, width = frame.rgb.shape[:2]
    return PartMasks(height, width, queries, tuple(parts), "truth", objects=tuple(objects))


def _query(object_name: str, part_name: str) -> PartQuery:
    return PartQuery(f"{object_name} {part_name}".strip(), object_name, part_name)


class SimCamera(Node):
    """Node that publishes image, depth and camera_info, and ~/truth if someone subscribes to it."""

    def __init__(self) -> None:
        super().__init__("sim_camera")
        self.declare_parameter("objects", ["knife", "mug", "pan"])
        self.declare_parameter("seed", 3)
        self.declare_parameter("width", 640)
        self.declare_parameter("height", 480)
        self.declare_parameter("rate", 30.0)
        self.declare_parameter("frames", 30)
        self.declare_parameter("spacing", 0.0)
        self.declare_parameter("photo", "")
        self.declare_parameter("recording", "")
        self._rate = self._value("rate")
        self._images = self.create_publisher(Image, "image", qos_profile_system_default)
        self._truth = self.create_publisher(PartMasksMsg, "~/truth", 5)
        if self._value("photo"):
            frames = photo_frames(Path(self._value("photo")))
            repeats = max(1, round(PHOTO_SECONDS * self._rate))
            self._film = itertools.cycle(frame for frame in frames for _ in range(repeats))
        else:
            self._depths = self.create_publisher(Image, "depth", qos_profile_system_default)
            self._infos = self.create_publisher(CameraInfo, "camera_info", 1)
            if self._value("recording"):
                frames = recorded_frames(Path(self._value("recording")))
                repeats = max(1, round(RECORDED_SECONDS * self._rate))
                self._film = itertools.cycle(frame for frame in frames for _ in range(repeats))
            else:
                frames = self._render()
                self._film = itertools.cycle(frames + frames[-2:0:-1])  # there and back
        self.create_timer(1 / self._rate, self._publish)
        self.get_logger().info(f"{len(frames)} pictures at {self._rate:g} Hz")

    def _render(self) -> list[CameraFrame]:
        names = ("objects", "seed", "width", "height", "frames", "spacing")
        count = self._value("frames")
        self.get_logger().info(f"rendering {count} images of {', '.join(self._value('objects'))}")
        start = time.monotonic()
        frames = list(rendered_frames(*(self._value(name) for name in names)))
        self.get_logger().info(f"rendered in {time.monotonic() - start:.1f} s")
        return frames

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _publish(self) -> None:
        frame = next(self._film)
        stamp = self.get_clock().now().to_msg()
        header = Header(stamp=stamp, frame_id=FRAME_ID)
        if frame.depth is not None and frame.info is not None:
            frame.info.header = frame.depth.header = header
            self._infos.publish(frame.info)
            self._depths.publish(frame.depth)
        frame.image.header = header
        self._images.publish(frame.image)
        if frame.truth is not None and self._truth.get_subscription_count():
            self._truth.publish(message_encoder.masks(frame.truth, header))


def main() -> None:
    """Run the camera until it is interrupted."""
    sys.exit(run_node("ovps_sim_camera", "ovps_ros.tools.sim_camera", SimCamera))


if __name__ == "__main__":
    main()
