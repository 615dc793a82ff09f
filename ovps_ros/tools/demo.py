"""Demo: a camera and the node over DDS, two lists of queries; results as table, image and animation.

Run it with ``python -m ovps_ros.tools.demo``. Like a robot, it publishes queries and subscribes to masks.
"""

from __future__ import annotations

from ovps_ros.interrupts import end_quietly_on_interrupt, forget_interrupt

if __name__ == "__main__":
    end_quietly_on_interrupt()

import argparse
import math
import signal
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
from ovps_core.evaluation.household import HOUSEHOLD
from ovps_core.pipeline.drawing import draw_masks
from ovps_core.pipeline.preprocess import RgbImage, image_paths
from ovps_core.ros_io.codec import image_rgb, masks_value, nanoseconds
from ovps_core.structures.image_files import save_image
from ovps_core.structures.masks import PartMasks, mask_iou
from ovps_core.structures.query import PartQuery
from ovps_core.structures.whole_files import unfinished, write_whole
from ovps_ros.msg import PartMasks as PartMasksMsg
from ovps_ros.msg import Parts3D
from ovps_ros.run_node import rclpy_session
from ovps_ros.tools.processes import NodeProcesses, isolate_ros_domain
from ovps_ros.tools.record import Recorder
from ovps_ros.tools.sim_camera import PHOTO_SECONDS

OBJECTS = ["knife", "knife", "mug", "mug"]
SEED, SPACING = 6, 0.03
"""Arrangement of the objects: all four handles are in view."""
FIRST = "knife handle, mug handle"
SECOND = "handle of each knife, mug handle, left mug's rim"
FIRST_RECORDED = "mug rim, mug body"
SECOND_RECORDED = "mug body, bottle body, bottle cap"
_START_TIMEOUT = 120.0  # seconds that a program may take to start
_KEPT = 60  # images and ground truths that wait for their masks
_FILM_FRAMES, _FILM_WIDTH, _FILM_HEIGHT = 40, 480, 360


class DemoError(OvpsError):
    """A program ended or did not answer in time; the message names it and what was expected."""


@dataclass
class DemoResult:
    """Results of the demo.

    Attributes:
        first_at: arrival of the first masks, seconds of the monotonic clock.
        last_at: arrival of the last masks.
        latencies_ms: time from an image's stamp to the arrival of its masks, milliseconds.
        found: per query, whether each image showed it.
        ious: per query, mask IoU with the ground truth of each image.
        film: images with masks, scaled for the animation.
        picture: the last image with masks.
        places: objects, their parts and places in space, from the last image with most of them.
        best_places: per query, without objects, place of the best part of the last image with one.
    """

    first_at: float = 0.0
    last_at: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    found: dict[str, list[bool]] = field(default_factory=dict)
    ious: dict[str, list[float]] = field(default_factory=dict)
    film: list[RgbImage] = field(default_factory=list)
    picture: RgbImage | None = None
    places: list[list[str]] = field(default_factory=list)
    best_places: dict[str, str] = field(default_factory=dict)


class DemoMonitor(Node):
    """Node that compares masks with images and ground truth of the same stamp.

    Args:
        recorder: recorder of all masks.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__("demo")
        self.result = DemoResult()
        self._images: dict[int, Image] = {}
        self._truths: dict[int, PartMasksMsg] = {}
        self._masks: dict[int, PartMasksMsg] = {}
        self._recorder = recorder
        self.queries = self.create_publisher(String, "/ovps/query", 10)
        self.create_subscription(Image, "image", self._on_image, qos_profile_sensor_data)
        self.create_subscription(PartMasksMsg, "/sim_camera/truth", self._on_truth, 10)
        self.create_subscription(PartMasksMsg, "/ovps/masks", self._on_masks, 10)
        self.create_subscription(Parts3D, "/ovps/parts_3d", self._on_places, 10)

    @property
    def sees_camera(self) -> bool:
        """True if an image has arrived."""
        return bool(self._images)

    def _on_image(self, message: Image) -> None:
        _keep(self._images, message)

    def _on_truth(self, message: PartMasksMsg) -> None:
        _keep(self._truths, message)

    def _on_places(self, message: Parts3D) -> None:
        """Keep the places of the parts; the masks of the same stamp came before and name the objects."""
        masks = self._masks.get(nanoseconds(message.header.stamp))
        if masks is None:
            return
        owners = {found.id: f"{found.name} {found.track_id}" for found in masks.objects}
        rows = []
        for part in sorted(message.parts, key=lambda part: part.score):
            at = part.pose.position
            place = f"{at.x:+.3f} {at.y:+.3f} {at.z:.3f}"
            if part.object_id in owners:
                rows.append([owners[part.object_id], part.query.text, place])
            else:
                self.result.best_places[part.query.text] = place
        if len(rows) >= len(self.result.places):
            self.result.places = sorted(rows)

    def _on_masks(self, message: PartMasksMsg) -> None:
        now, stamp = self.get_clock().now().nanoseconds, nanoseconds(message.header.stamp)
        result = self.result
        result.last_at = time.monotonic()
        result.first_at = result.first_at or result.last_at
        result.latencies_ms.append((now - stamp) / 1e6)
        self._recorder.write("/ovps/masks", message, now)
        _keep(self._masks, message)
        masks = masks_value(message)
        truth = self._truths.get(stamp)
        shown = masks_value(truth) if truth is not None else None
        for query in masks.queries:
            result.found.setdefault(query.text, []).append(bool(masks.of(query)))
            if shown is not None and (query.object, query.part) in _named(shown):
                result.ious.setdefault(query.text, []).append(_iou(masks, shown, query))
        if stamp in self._images:
            result.picture = draw_masks(image_rgb(self._images[stamp]), masks)
            result.film.append(_fit(result.picture))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the demo."""
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for the results")
    parser.add_argument(
        "--photo", type=Path, help="show the images of this folder instead of the simulated camera"
    )
    parser.add_argument(
        "--recorded",
        action="store_true",
        help="show frames of a real depth camera, which come with the package, instead",
    )
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="name of a model (see `ovps models`), or a file"
    )
    parser.add_argument("--first", help=f"queries of the first half (default: {FIRST})")
    parser.add_argument("--second", help=f"queries of the second half (default: {SECOND})")
    parser.add_argument("--seconds", type=float, default=16.0, help="duration with results")
    parser.add_argument(
        "--score-threshold", type=float, default=0.5, help="minimum score of a part"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo.

    Returns:
        The exit code 0.

    Raises:
        DemoError: a program ended or did not answer in time.
    """
    if args.photo:  # every photo is shown during both halves
        args.seconds = max(args.seconds, 2 * PHOTO_SECONDS * len(image_paths(args.photo)))
    domain = isolate_ros_domain()
    print(f"ROS_DOMAIN_ID={domain}: camera, node and this program communicate over DDS")
    args.out.mkdir(parents=True, exist_ok=True)
    with (
        rclpy_session(),
        Recorder(args.out / "masks") as recorder,
        NodeProcesses() as processes,
    ):
        shown: dict[str, object] = {"objects": OBJECTS, "seed": SEED, "spacing": SPACING}
        settings = {"model": args.model, "score_threshold": args.score_threshold}
        if args.photo:
            shown = {"photo": str(args.photo)}
        elif args.recorded:
            # without objects: the model's own instances take a box and a pen of these frames for bottles
            shown = {"recording": str(HOUSEHOLD)}
        else:
            settings["object_model"] = "own"
        processes.start("ovps_ros.tools.sim_camera", shown)
        processes.start("ovps_ros.node", {**settings, "use_depth": not args.photo})
        monitor = DemoMonitor(recorder)
        try:
            _query_and_wait(monitor, processes, args)
        finally:
            monitor.destroy_node()
    rclpy.try_shutdown()
    _report(monitor.result, args)
    return 0


def _query_and_wait(
    monitor: DemoMonitor, processes: NodeProcesses, args: argparse.Namespace
) -> None:
    def wait(expected: str, condition: Callable[[], Any], timeout: float = _START_TIMEOUT) -> None:
        end = time.monotonic() + timeout
        while not condition():
            ended = processes.ended()
            if ended or time.monotonic() > end:
                raise DemoError(f"no {expected}; programs that ended: {ended or 'none'}")
            rclpy.spin_once(monitor, timeout_sec=0.05)

    def show(text: str) -> None:
        print(f"looking for: {text}")
        monitor.queries.publish(String(data=text))
        count = len(monitor.result.latencies_ms)
        wait("masks", lambda: len(monitor.result.latencies_ms) > count)
        end = time.monotonic() + args.seconds / 2
        wait("end of the time", lambda: time.monotonic() > end, timeout=math.inf)

    wait("images of the camera", lambda: monitor.sees_camera)
    wait("node", lambda: monitor.queries.get_subscription_count())
    wait("subscription of the node to images", lambda: monitor.count_subscribers("image") > 1)
    first, second = (FIRST_RECORDED, SECOND_RECORDED) if args.recorded else (FIRST, SECOND)
    show(args.first or first)
    show(args.second or second)


def _report(result: DemoResult, args: argparse.Namespace) -> None:
    frames = len(result.latencies_ms)
    p50, p99 = np.percentile(result.latencies_ms, [50, 99])
    rate = (frames - 1) / max(result.last_at - result.first_at, 1e-9)
    rows = [[text, len(hits), f"{np.mean(hits):.0%}"] for text, hits in result.found.items()]
    headers = ["query", "images", "found in"]
    if result.ious:  # photos have no ground truth
        headers.append("mean IoU with truth")
        for row in rows:
            row.append(np.mean(result.ious[row[0]]) if row[0] in result.ious else None)
    table = tabulate(rows, headers, floatfmt=".3f", missingval="")
    summary = (
        f"{frames} images answered, {rate:.1f} per second; stamp to mask p50 {p50:.0f} ms, "
        f"p99 {p99:.0f} ms"
    )
    report = f"{table}\n\n{summary}\n"
    if result.places:
        report += "\n" + tabulate(result.places, ["object", "part", "place x y z [m]"]) + "\n"
    elif result.best_places:  # photos have no depth
        headers = ["part", "place x y z [m], in the last image with it"]
        report += "\n" + tabulate(result.best_places.items(), headers) + "\n"
    print(f"\n{report}", end="")
    write_whole(args.out / "report.txt", report)
    if result.picture is not None:
        save_image(args.out / "demo.png", result.picture)
        step = max(1, len(result.film) // _FILM_FRAMES)
        film = [Picture.fromarray(frame) for frame in result.film[::step]]
        with unfinished(args.out / "demo.gif") as path:
            film[0].save(path, "GIF", save_all=True, append_images=film[1:], duration=125, loop=0)
    names = ", ".join(sorted(path.name for path in args.out.iterdir()))
    print(f"in {args.out}: {names}")


def _iou(masks: PartMasks, truth: PartMasks, query: PartQuery) -> float:
    """Mask IoU of all parts found for a query with the ground truth; 1 if both are empty."""
    true_query = _named(truth)[query.object, query.part]  # its text may differ
    return mask_iou(masks.mask_of(query), truth.mask_of(true_query))


def _named(truth: PartMasks) -> dict[tuple[str, str], PartQuery]:
    return {(query.object, query.part): query for query in truth.queries}


def _fit(picture: RgbImage) -> RgbImage:
    """Scale an image of any shape into the middle of a frame of the animation."""
    height, width = picture.shape[:2]
    scale = min(_FILM_WIDTH / width, _FILM_HEIGHT / height)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    frame = np.zeros((_FILM_HEIGHT, _FILM_WIDTH, 3), np.uint8)
    left, top = (_FILM_WIDTH - new_width) // 2, (_FILM_HEIGHT - new_height) // 2
    frame[top : top + new_height, left : left + new_width] = cv2.resize(
        picture, (new_width, new_height), interpolation=cv2.INTER_AREA
    )
    return frame


def _keep(store: dict[int, Any], message: Any) -> None:
    store[nanoseconds(message.header.stamp)] = message
    while len(store) > _KEPT:
        del store[next(iter(store))]


def main() -> int:
    """Run the command line of the demo."""
    parser = argparse.ArgumentParser(
        prog="python -m ovps_ros.tools.demo", description="Camera, node and queries over DDS."
    )
    add_arguments(parser)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(parser.parse_args())
    except KeyboardInterrupt:
        forget_interrupt()
        return 130
    except OvpsError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
