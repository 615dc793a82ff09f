"""Benchmark ``ovps bench ros``: overhead of the node over its model, and latency with a fast camera.

``ovps bench`` finds this module by the entry point group ``ovps.bench``, see pyproject.toml.
"""

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
from ovps_core.errors import OvpsError
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.ros_io.codec import nanoseconds
from ovps_core.segmenter import PartSegmenter
from ovps_ros.messages import message_encoder
from ovps_ros.msg import PartMasks
from ovps_ros.tools.processes import NodeProcesses, isolate_ros_domain

QUERIES = "knife handle, mug handle"
_START_TIMEOUT = 180.0  # seconds that the node may take to start on a busy machine


class NodeTimeoutError(OvpsError, TimeoutError):
    """The node did not start or did not answer in time."""


class Timing(NamedTuple):
    """Latency of the node.

    Attributes:
        sent: images published.
        answered: masks received.
        p50: median time from an image's stamp to its masks, milliseconds.
        p99: 99th percentile, milliseconds.
    """

    sent: int
    answered: int
    p50: float
    p99: float


class _Sender(Node):
    """Node that publishes an image at a rate and measures the latency of the masks."""

    def __init__(self, rgb: RgbImage) -> None:
        super().__init__("bench")
        self.latencies_ms: list[float] = []
        self.sent = 0
        self._message = message_encoder.image(rgb, Header())
        self._images = self.create_publisher(Image, "image", qos_profile_sensor_data)
        self.queries = self.create_publisher(String, "/ovps/query", 1)
        self.create_subscription(PartMasks, "/ovps/masks", self._on_masks, 10)

    @property
    def node_is_active(self) -> bool:
        """True if the node subscribes to images and queries."""
        subscriptions = self._images.get_subscription_count()
        return bool(subscriptions and self.queries.get_subscription_count())

    def send(self) -> None:
        """Publish the image with the current time as its stamp."""
        self._message.header = Header(stamp=self.get_clock().now().to_msg(), frame_id="camera")
        self._images.publish(self._message)
        self.sent += 1

    def _on_masks(self, message: PartMasks) -> None:
        now = self.get_clock().now().nanoseconds
        self.latencies_ms.append((now - nanoseconds(message.header.stamp)) / 1e6)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps bench ros``."""
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="name of a model (see `ovps models`), or a file"
    )
    parser.add_argument("--backend", default="auto", help="inference backend")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of each measurement")
    parser.add_argument("--rate", type=float, default=30.0, help="images per second of the camera")


def run(args: argparse.Namespace) -> int:
    """Measure the model alone, the node at half load, and the node with a camera faster than the model.

    Returns:
        The exit code 0.

    Raises:
        NodeTimeoutError: the node did not start or did not answer.
    """
    rgb = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    model_ms = _time_model(rgb, args)
    isolate_ros_domain()
    rclpy.init()
    with NodeProcesses() as processes:
        processes.start("ovps_ros.node", {"model": args.model, "backend": args.backend})
        sender = _Sender(rgb)
        _spin(sender, processes, lambda: sender.node_is_active, _START_TIMEOUT)
        sender.queries.publish(String(data=QUERIES))
        _await_answer(sender, processes)
        half_load = _measure(sender, processes, min(args.rate, 0.5e3 / model_ms), args.seconds)
        overload = _measure(sender, processes, args.rate, args.seconds)
        sender.destroy_node()
    rclpy.try_shutdown()
    rows: list[list[object]] = [
        ["model alone", "", "", model_ms, None, None],
        ["node, half load", *half_load, half_load.p50 - model_ms],
        [f"node, {args.rate:g} Hz in", *overload, None],
    ]
    headers = ["", "sent", "answered", "p50 ms", "p99 ms", "overhead ms"]
    print(tabulate(rows, headers, floatfmt=".1f"))
    ratio = overload.p50 / model_ms
    print(
        f"at {args.rate:g} Hz in, stamp to mask takes {ratio:.2f} times as long as the model (p50)"
    )
    return 0


def _time_model(rgb: RgbImage, args: argparse.Namespace) -> float:
    """Median time of the model for one image, milliseconds."""
    segmenter = PartSegmenter.from_pretrained(args.model, backend=args.backend)
    encoded, options = segmenter.encode_queries(QUERIES), SegmentOptions()
    segmenter.segment(rgb, encoded, options)
    times = []
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        segmenter.segment(rgb, encoded, options)
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


def _await_answer(sender: _Sender, processes: NodeProcesses) -> None:
    """Publish images until masks arrive; the first ones wait for the queries and for caches."""
    timer = sender.create_timer(0.2, sender.send)
    _spin(sender, processes, lambda: bool(sender.latencies_ms), _START_TIMEOUT)
    sender.destroy_timer(timer)


def _measure(sender: _Sender, processes: NodeProcesses, rate: float, seconds: float) -> Timing:
    first = len(sender.latencies_ms)
    sender.sent = 0
    timer = sender.create_timer(1 / rate, sender.send)
    end = time.monotonic() + seconds
    _spin(sender, processes, lambda: time.monotonic() > end, seconds + 1)
    sender.destroy_timer(timer)
    last = time.monotonic() + 1.0  # for the masks of the last images
    _spin(sender, processes, lambda: time.monotonic() > last, 2.0)
    latencies = sender.latencies_ms[first:]
    if not latencies:
        raise NodeTimeoutError("the node published no masks; see its log above")
    p50, p99 = np.percentile(latencies, [50, 99])
    return Timing(sender.sent, len(latencies), float(p50), float(p99))


def _spin(
    sender: _Sender, processes: NodeProcesses, condition: Callable[[], bool], timeout: float
) -> None:
    end = time.monotonic() + timeout
    while not condition():
        if processes.ended() or time.monotonic() > end:
            raise NodeTimeoutError(
                f"the node did not answer within {timeout:.0f} s; see its log above"
            )
        rclpy.spin_once(sender, timeout_sec=0.01)
