"""A simulated RGB-D camera: a rendered table seen by a camera that swings to and fro, or a folder of photos.

A swing is rendered once at the start and then played, so that 30 Hz hold on a machine without a GPU.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # the imports take seconds; Ctrl-C ends them without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_system_default
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ovps_core.pipeline.preprocess import image_paths, load_image
from ovps_core.structures.masks import Box, PartMask, PartMasks
from ovps_core.structures.query import PartQuery
from ovps_ros.messages import image_message, masks_message
from ovps_ros.msg import PartMasks as PartMasksMsg
from ovps_ros.tools.processes import run_node

FRAME_ID = "camera_color_optical_frame"
_STEP = 1 / 30  # seconds of the scene's time between two frames of the swing
PHOTO_SECONDS = 3.0  # for which a photo stands before the camera


@dataclass(frozen=True)
class CameraFrame:
    """One picture, ready to be sent; a photo has neither depth nor truth.

    Attributes:
        image, depth, info: messages without a stamp.
        truth: what is really there.
    """

    image: Image
    depth: Image | None = None
    info: CameraInfo | None = None
    truth: PartMasks | None = field(default=None, repr=False)


def rendered_shots(
    objects: Sequence[str], seed: int, width: int, height: int, count: int
) -> Iterator[CameraFrame]:
    """``count`` pictures along the camera's way around a table.

    Raises:
        OvpsError: an unknown object, or no off-screen OpenGL here.
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
            image_message(frame.rgb, header),
            image_message(frame.depth, header),
            info,
            _truth(frame.masks, width, height),
        )
    scene.close()


def photo_shots(folder: Path) -> list[CameraFrame]:
    """The same as messages.

    Raises:
        ImageError: there is none, or one cannot be read.
    """
    header = Header(frame_id=FRAME_ID)
    return [CameraFrame(image_message(load_image(path), header)) for path in image_paths(folder)]


def _truth(masks: dict[tuple[str, str], np.ndarray], width: int, height: int) -> PartMasks:
    parts: list[PartMask] = []
    for (thing, part), mask in masks.items():
        if not mask.any():
            continue
        left, top, wide, high = cv2.boundingRect(mask.astype(np.uint8))
        query = PartQuery(f"{thing} {part}".strip(), thing, part)
        roi = Box(left, top, wide, high)
        parts.append(PartMask(len(parts) + 1, query, 1.0, roi, mask[roi.slices]))
    queries = tuple(PartQuery(f"{o} {p}".strip(), o, p) for o, p in masks)
    return PartMasks(height, width, queries, tuple(parts), "truth")


class SimCamera(Node):
    """Publishes image, depth and camera_info, and ~/truth while someone listens."""

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
            shots = photo_shots(Path(self._value("photo")))
            each = max(1, round(PHOTO_SECONDS * self._rate))
            self._film = itertools.cycle(shot for shot in shots for _ in range(each))
        else:
            self._depths = self.create_publisher(Image, "depth", qos_profile_system_default)
            self._infos = self.create_publisher(CameraInfo, "camera_info", 1)
            shots = self._render()
            self._film = itertools.cycle(shots + shots[-2:0:-1])
        self.create_timer(1 / self._rate, self._shoot)
        self.get_logger().info(f"{len(shots)} pictures at {self._rate:g} Hz")

    def _render(self) -> list[CameraFrame]:
        names = ("objects", "seed", "width", "height", "frames")
        count = self._value("frames")
        self.get_logger().info(f"rendering {count} pictures of {', '.join(self._value('objects'))}")
        start = time.monotonic()
        shots = list(rendered_shots(*(self._value(name) for name in names)))
        self.get_logger().info(f"rendered in {time.monotonic() - start:.1f} s")
        return shots

    def _value(self, name: str):  # type: ignore[no-untyped-def]
        return self.get_parameter(name).value

    def _shoot(self) -> None:
        shot = next(self._film)
        stamp = self.get_clock().now().to_msg()
        header = Header(stamp=stamp, frame_id=FRAME_ID)
        if shot.depth is not None and shot.info is not None:
            shot.info.header = shot.depth.header = header
            self._infos.publish(shot.info)
            self._depths.publish(shot.depth)
        shot.image.header = header
        self._images.publish(shot.image)
        if shot.truth is not None and self._truth.get_subscription_count():
            self._truth.publish(masks_message(shot.truth, header))


def main() -> None:
    """Run the camera until it is told to stop."""
    sys.exit(run_node("ovps_sim_camera", SimCamera))


if __name__ == "__main__":
    main()
