"""``ovps bench ros``: what the node costs above its model, and that a slow model builds no queue."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from tabulate import tabulate

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.errors import BackendError
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.segmenter import PartSegmenter
from ovps_ros.messages import image_message, nanoseconds
from ovps_ros.msg import PartMasks
from ovps_ros.tools.processes import NodeProcesses, isolate_ros_domain

QUERIES = "knife handle, mug handle"
_STARTS = 180.0  # seconds a node may take to come up on a busy machine


class Timing(NamedTuple):
    """Images sent, masks that came, and milliseconds from stamp to mask."""

    sent: int
    answered: int
    p50: float
    p99: float


class _Sender(Node):
    """Publishes one picture at a rate and times the answers."""

    def __init__(self, rgb: RgbImage) -> None:
        super().__init__("bench")
        self.waits_ms: list[float] = []
        self.sent = 0
        self._message = image_message(rgb, Header())
        self._images = self.create_publisher(Image, "image", qos_profile_sensor_data)
        self.words = self.create_publisher(String, "/ovps/query", 1)
        self.create_subscription(PartMasks, "/ovps/masks", self._on_masks, 10)

    @property
    def node_listens(self) -> bool:
        """Whether the node is active."""
        return bool(self._images.get_subscription_count() and self.words.get_subscription_count())

    def send(self) -> None:
        """One picture, stamped now."""
        self._message.header = Header(stamp=self.get_clock().now().to_msg(), frame_id="camera")
        self._images.publish(self._message)
        self.sent += 1

    def _on_masks(self, message: PartMasks) -> None:
        now = self.get_clock().now().nanoseconds
        self.waits_ms.append((now - nanoseconds(message.header.stamp)) / 1e6)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps bench ros``."""
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="a name from `ovps models`, or a file"
    )
    parser.add_argument("--backend", default="auto", help="what runs the network")
    parser.add_argument("--seconds", type=float, default=10.0, help="of every measurement")
    parser.add_argument("--rate", type=float, default=30.0, help="images per second of the camera")


def run(args: argparse.Namespace) -> int:
    """Time the bare model, then the node with a free model, then with a camera faster than the model."""
    rgb = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    bare = _time_model(rgb, args)
    isolate_ros_domain()
    rclpy.init()
    with NodeProcesses() as programs:
        programs.start("ovps_ros.node", {"model": args.model, "backend": args.backend})
        sender = _Sender(rgb)
        _spin(sender, programs, lambda: sender.node_listens, _STARTS)
        sender.words.publish(String(data=QUERIES))
        _await_answer(sender, programs)
        free = _measure(sender, programs, min(args.rate, 0.5e3 / bare), args.seconds)
        flooded = _measure(sender, programs, args.rate, args.seconds)
        sender.destroy_node()
    rclpy.try_shutdown()
    rows = [
        ["bare model", "", "", bare, None, None],
        ["node, model half idle", *free, free.p50 - bare],
        [f"node, {args.rate:g} Hz in", *flooded, None],
    ]
    headers = ["", "sent", "answered", "p50 ms", "p99 ms", "overhead ms"]
    print(tabulate(rows, headers, floatfmt=".1f"))
    print(f"at {args.rate:g} Hz in, stamp to mask is {flooded.p50 / bare:.2f} model times (p50)")
    return 0


def _time_model(rgb: RgbImage, args: argparse.Namespace) -> float:
    """Milliseconds of one image, p50."""
    segmenter = PartSegmenter.from_pretrained(args.model, backend=args.backend)
    plan, options = segmenter.encode_queries(QUERIES), SegmentOptions()
    segmenter.segment(rgb, plan, options)
    times = []
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        segmenter.segment(rgb, plan, options)
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


def _await_answer(sender: _Sender, programs: NodeProcesses) -> None:
    """Send until something comes back: the first answer waits for words and caches."""
    timer = sender.create_timer(0.2, sender.send)
    _spin(sender, programs, lambda: bool(sender.waits_ms), _STARTS)
    sender.destroy_timer(timer)


def _measure(sender: _Sender, programs: NodeProcesses, rate: float, seconds: float) -> Timing:
    first = len(sender.waits_ms)
    sender.sent = 0
    timer = sender.create_timer(1 / rate, sender.send)
    end = time.monotonic() + seconds
    _spin(sender, programs, lambda: time.monotonic() > end, seconds + 1)
    sender.destroy_timer(timer)
    settled = time.monotonic() + 1.0
    _spin(sender, programs, lambda: time.monotonic() > settled, 2.0)
    waits = sender.waits_ms[first:]
    if not waits:
        raise BackendError("the node answered nothing; look at its log above")
    p50, p99 = np.percentile(waits, [50, 99])
    return Timing(sender.sent, len(waits), float(p50), float(p99))


def _spin(
    sender: _Sender, programs: NodeProcesses, true: Callable[[], bool], patience: float
) -> None:
    end = time.monotonic() + patience
    while not true():
        if programs.dead() or time.monotonic() > end:
            raise BackendError(
                f"the node did not come up in {patience:.0f} s; look at its log above"
            )
        rclpy.spin_once(sender, timeout_sec=0.01)
