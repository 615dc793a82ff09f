"""Simulated RGB-D camera: a rendered table seen from a moving camera, or a folder of photos.

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
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import qos_profile_system_default
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ovps_core.pipeline.preprocess import image_paths, load_image
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery
from ovps_ros.messages import message_encoder
from ovps_ros.msg import PartMasks as PartMasksMsg
from ovps_ros.run_node import run_node

FRAME_ID = "camera_color_optical_frame"
_STEP = 1 / 30  # seconds of simulated time between two frames
PHOTO_SECONDS = 3.0
"""Time for which each photo is shown, seconds."""


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
    objects: Sequence[str], seed: int, width: int, height: int, count: int
) -> Iterator[CameraFrame]:
    """Render frames along the path of a camera around a table.

    Args:
        objects: names of the objects on the table.
        seed: seed of the arrangement.
        width: image width, pixels.
        height: image height, pixels.
        count: number of frames.

    Raises:
        OvpsError: an object is unknown, or off-screen OpenGL is not available.
    """
    from ovps_core.synthetic.live import LiveScene

    scene = LiveScene(objects, seed=seed, width=width, height=height)
    for i in range(count):
        frame = scene.frame(i * _STEP)
        header = Header(frame_id=FRAME_ID)
        k = frame.intrinsics
        info = CameraInfo(header=header, width=width, height=height, distortion_model="plumb_bob")
        info.d, info.k, info.r = [0.0] * 5, k.ravel().tolist(), np.eye(3).ravel().tolist()
        info.p = np.hstack([k, np.zeros((3, 1))]).ravel().tolist()
        yield CameraFrame(
            message_encoder.image(frame.rgb, header),
            message_encoder.image(frame.depth, header),
            info,
            _truth(frame.masks, width, height),
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


def _truth(
    masks: Mapping[tuple[str, str], NDArray[np.bool_]], width: int, height: int
) -> PartMasks:
    parts: list[PartMask] = []
    for (object_name, part_name), mask in masks.items():
        if not mask.any():
            continue
        left, top, box_width, box_height = cv2.boundingRect(mask.astype(np.uint8))
        query = PartQuery(f"{object_name} {part_name}".strip(), object_name, part_name)
        box = Box(left, top, box_width, box_height)
        parts.append(PartMask(len(parts) + 1, query, 1.0, box, mask[box.slices]))
    queries = tuple(PartQuery(f"{o} {p}".strip(), o, p) for o, p in masks)
    return PartMasks(height, width, queries, tuple(parts), "truth")


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
        self.declare_parameter("photo", "")
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
            frames = self._render()
            self._film = itertools.cycle(frames + frames[-2:0:-1])  # there and back
        self.create_timer(1 / self._rate, self._publish)
        self.get_logger().info(f"{len(frames)} pictures at {self._rate:g} Hz")

    def _render(self) -> list[CameraFrame]:
        names = ("objects", "seed", "width", "height", "frames")
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
