"""``python -m ovps_ros.tools.demo``: camera and node over DDS, two queries, a table, a picture, a film.

The runner only does what a robot would: it says words on a topic and listens to masks.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # the imports take seconds; Ctrl-C ends them without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from PIL import Image as Picture
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import String
from tabulate import tabulate

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.errors import OvpsError
from ovps_core.pipeline.drawing import draw_masks
from ovps_core.pipeline.preprocess import RgbImage, image_paths
from ovps_core.ros_io.codec import image_rgb, masks_value
from ovps_core.structures.masks import PartMasks, mask_iou
from ovps_core.structures.query import PartQuery
from ovps_ros.messages import nanoseconds
from ovps_ros.msg import PartMasks as PartMasksMsg
from ovps_ros.tools.processes import NodeProcesses, isolate_ros_domain, rclpy_session
from ovps_ros.tools.record import MaskRecorder
from ovps_ros.tools.sim_camera import PHOTO_SECONDS

FIRST = "knife handle, mug handle"
SECOND = "knife handle, mug handle, pan handle"
_PATIENCE = 120.0  # seconds for a program to come up
_KEPT = 60  # images and truths that wait for their masks
_FILM_FRAMES, _FILM_WIDTH, _FILM_HEIGHT = 40, 480, 360


class DemoError(OvpsError):
    """A program did not come up; the message says which, and what it was waited for."""


@dataclass
class DemoResult:
    """Everything that came back."""

    first_at: float = 0.0
    last_at: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    found: dict[str, list[bool]] = field(default_factory=dict)
    ious: dict[str, list[float]] = field(default_factory=dict)
    film: list[RgbImage] = field(default_factory=list)
    picture: RgbImage | None = None


class DemoMonitor(Node):
    """Listens to images, masks and truth, and compares what has one stamp."""

    def __init__(self, recorder: MaskRecorder) -> None:
        super().__init__("demo")
        self.seen = DemoResult()
        self._images: dict[int, Image] = {}
        self._truths: dict[int, PartMasksMsg] = {}
        self._recorder = recorder
        self.words = self.create_publisher(String, "/ovps/query", 10)
        self.create_subscription(Image, "image", self._on_image, qos_profile_sensor_data)
        self.create_subscription(PartMasksMsg, "/sim_camera/truth", self._on_truth, 10)
        self.create_subscription(PartMasksMsg, "/ovps/masks", self._on_masks, 10)

    @property
    def sees_camera(self) -> bool:
        """Whether an image has come."""
        return bool(self._images)

    def _on_image(self, message: Image) -> None:
        _keep(self._images, message)

    def _on_truth(self, message: PartMasksMsg) -> None:
        _keep(self._truths, message)

    def _on_masks(self, message: PartMasksMsg) -> None:
        now, stamp = self.get_clock().now().nanoseconds, nanoseconds(message.header.stamp)
        seen = self.seen
        seen.last_at = time.monotonic()
        seen.first_at = seen.first_at or seen.last_at
        seen.latencies_ms.append((now - stamp) / 1e6)
        self._recorder.write(message, now)
        masks = masks_value(message)
        truth = self._truths.get(stamp)
        for query in masks.queries:
            seen.found.setdefault(query.text, []).append(bool(masks.of(query)))
            if truth is not None:
                iou = _iou(masks, masks_value(truth), query)
                seen.ious.setdefault(query.text, []).append(iou)
        if stamp in self._images:
            seen.picture = draw_masks(image_rgb(self._images[stamp]), masks)
            seen.film.append(_fit(seen.picture))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the demo."""
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="where results go")
    parser.add_argument("--photo", type=Path, help="play the pictures of this folder as a camera")
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="a name from `ovps models`, or a file"
    )
    parser.add_argument("--first", default=FIRST, help="what to look for at first")
    parser.add_argument("--second", default=SECOND, help="and half way")
    parser.add_argument("--seconds", type=float, default=16.0, help="of answers to watch")
    parser.add_argument("--score-threshold", type=float, default=0.5, help="least score of a part")


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 when masks came."""
    if args.photo:  # every photo is asked every question
        args.seconds = max(args.seconds, 2 * PHOTO_SECONDS * len(image_paths(args.photo)))
    domain = isolate_ros_domain()
    print(f"ROS_DOMAIN_ID={domain}: camera, node and this program talk over DDS")
    args.out.mkdir(parents=True, exist_ok=True)
    with rclpy_session(), MaskRecorder(args.out / "masks") as recorder, NodeProcesses() as programs:
        photo: dict[str, object] = {"photo": str(args.photo)} if args.photo else {}
        programs.start("ovps_ros.tools.sim_camera", photo)
        settings = {"model": args.model, "score_threshold": args.score_threshold}
        programs.start("ovps_ros.node", {**settings, "use_depth": not args.photo})
        watcher = DemoMonitor(recorder)
        try:
            _ask_and_watch(watcher, programs, args)
        finally:
            watcher.destroy_node()
    rclpy.try_shutdown()
    _report(watcher.seen, args)
    return 0


def _ask_and_watch(watcher: DemoMonitor, programs: NodeProcesses, args: argparse.Namespace) -> None:
    def wait(what: str, true: Callable[[], Any], patience: float = _PATIENCE) -> None:
        end = time.monotonic() + patience
        while not true():
            dead = programs.dead()
            if dead or time.monotonic() > end:
                raise DemoError(f"waited for {what}; ended by themselves: {dead or 'none'}")
            rclpy.spin_once(watcher, timeout_sec=0.05)

    def ask(words: str) -> None:
        print(f"asking for: {words}")
        watcher.words.publish(String(data=words))
        count = len(watcher.seen.latencies_ms)
        wait("masks", lambda: len(watcher.seen.latencies_ms) > count)
        end = time.monotonic() + args.seconds / 2
        wait("time to pass", lambda: time.monotonic() > end, patience=math.inf)

    wait("the camera", lambda: watcher.sees_camera)
    wait("the node", lambda: watcher.words.get_subscription_count())
    wait("the node to listen to images", lambda: watcher.count_subscribers("image") > 1)
    ask(args.first)
    ask(args.second)


def _report(seen: DemoResult, args: argparse.Namespace) -> None:
    frames = len(seen.latencies_ms)
    p50, p99 = np.percentile(seen.latencies_ms, [50, 99])
    rate = (frames - 1) / max(seen.last_at - seen.first_at, 1e-9)
    rows = [[text, len(hits), f"{np.mean(hits):.0%}"] for text, hits in seen.found.items()]
    headers = ["query", "images", "found in"]
    if seen.ious:  # photos have no truth
        headers.append("mean IoU with truth")
        for row in rows:
            row.append(np.mean(seen.ious[row[0]]) if row[0] in seen.ious else None)
    table = tabulate(rows, headers, floatfmt=".3f", missingval="")
    summary = (
        f"{frames} images answered, {rate:.1f} a second; stamp to mask p50 {p50:.0f} ms, "
        f"p99 {p99:.0f} ms"
    )
    print(f"\n{table}\n\n{summary}")
    (args.out / "report.txt").write_text(f"{table}\n\n{summary}\n")
    if seen.picture is not None:
        cv2.imwrite(str(args.out / "demo.png"), seen.picture[..., ::-1])
        step = max(1, len(seen.film) // _FILM_FRAMES)
        film = [Picture.fromarray(frame) for frame in seen.film[::step]]
        film[0].save(
            args.out / "demo.gif", save_all=True, append_images=film[1:], duration=125, loop=0
        )
    names = ", ".join(sorted(path.name for path in args.out.iterdir()))
    print(f"in {args.out}: {names}")


def _iou(masks: PartMasks, truth: PartMasks, query: PartQuery) -> float:
    """Intersection over union of all pixels found and all true ones; 1 when both are empty."""
    named = {(q.object, q.part): q for q in truth.queries}
    really = named.get((query.object, query.part), query)  # the camera says it in words of its own
    return mask_iou(masks.mask_of(query), truth.mask_of(really))


def _fit(picture: RgbImage) -> RgbImage:
    """Into the middle of a film frame; photos of a folder have many shapes."""
    height, width = picture.shape[:2]
    scale = min(_FILM_WIDTH / width, _FILM_HEIGHT / height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    frame = np.zeros((_FILM_HEIGHT, _FILM_WIDTH, 3), np.uint8)
    left, top = (_FILM_WIDTH - wide) // 2, (_FILM_HEIGHT - high) // 2
    frame[top : top + high, left : left + wide] = cv2.resize(
        picture, (wide, high), interpolation=cv2.INTER_AREA
    )
    return frame


def _keep(store: dict[int, Any], message: Any) -> None:
    store[nanoseconds(message.header.stamp)] = message
    while len(store) > _KEPT:
        del store[next(iter(store))]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ovps_ros.tools.demo", description="Camera, node and questions over DDS."
    )
    add_arguments(parser)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(parser.parse_args())
    except KeyboardInterrupt:
        return 130
    except OvpsError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
