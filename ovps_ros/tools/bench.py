"""Benchmark ``ovps bench ros``: overhead of the node over its model, and latency with a fast camera.

``ovps bench`` finds this module by the entry point group ``ovps.bench``, see pyproject.toml.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
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
from ovps_ros.tools.timed_node import MODEL, NODE, TIMES

QUERIES = "knife handle, mug handle"
PERCENTILES = (50, 95, 99)
_LEAST_IMAGES = 6  # at half load, however slow the model is
_START_TIMEOUT = 180.0  # seconds that the node may take to start on a busy machine


class NodeTimeoutError(OvpsError, TimeoutError):
    """The node did not start or did not answer in time."""


class Timing(NamedTuple):
    """Times of the images that the node answered, all float64 [N], milliseconds.

    Attributes:
        sent: number of images published.
        latency: from an image's stamp to the arrival of its masks here.
        model: part of it that the model took.
        node: from the image's arrival in the node to the publication of its results.
    """

    sent: int
    latency: NDArray[np.float64]
    model: NDArray[np.float64]
    node: NDArray[np.float64]


class _Sender(Node):
    """Node that publishes an image at a rate and measures the latency of the masks."""

    def __init__(self, rgb: RgbImage) -> None:
        super().__init__("bench")
        self.latencies_ms: dict[int, float] = {}  # by stamp
        self.times_ms: dict[int, tuple[float, float]] = {}  # of the model and of the node, by stamp
        self.sent: list[int] = []  # stamps
        self._message = message_encoder.image(rgb, Header())
        self._images = self.create_publisher(Image, "image", qos_profile_sensor_data)
        self.queries = self.create_publisher(String, "/ovps/query", 1)
        self.create_subscription(PartMasks, "/ovps/masks", self._on_masks, 10)
        self.create_subscription(DiagnosticArray, TIMES, self._on_times, 10)

    @property
    def node_is_active(self) -> bool:
        """True if the node subscribes to images and queries."""
        subscriptions = self._images.get_subscription_count()
        return bool(subscriptions and self.queries.get_subscription_count())

    def send(self) -> None:
        """Publish the image with the current time as its stamp."""
        self._message.header = Header(stamp=self.get_clock().now().to_msg(), frame_id="camera")
        self._images.publish(self._message)
        self.sent.append(nanoseconds(self._message.header.stamp))

    def _on_masks(self, message: PartMasks) -> None:
        now, stamp = self.get_clock().now().nanoseconds, nanoseconds(message.header.stamp)
        self.latencies_ms[stamp] = (now - stamp) / 1e6

    def _on_times(self, message: DiagnosticArray) -> None:
        values = {pair.key: float(pair.value) for pair in message.status[0].values}
        self.times_ms[nanoseconds(message.header.stamp)] = values[MODEL], values[NODE]


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
    alone = _time_model(rgb, args)
    gc.collect()
    gc.freeze()  # pauses of this program would count as the node's
    isolate_ros_domain()
    rclpy.init()
    with NodeProcesses() as processes:
        processes.start("ovps_ros.tools.timed_node", {"model": args.model, "backend": args.backend})
        sender = _Sender(rgb)
        _spin(sender, processes, lambda: sender.node_is_active, _START_TIMEOUT)
        sender.queries.publish(String(data=QUERIES))
        _await_answer(sender, processes)
        model_s = float(np.median(alone)) / 1e3
        rate, wait_s = min(args.rate, 0.5 / model_s), 1 + 2 * model_s
        seconds = max(args.seconds, _LEAST_IMAGES / rate)
        half_load = _measure(sender, processes, rate, seconds, wait_s)
        overload = _measure(sender, processes, args.rate, args.seconds, wait_s)
        sender.destroy_node()
    rclpy.try_shutdown()
    print(table(alone, half_load, overload, args.rate))
    ratio = np.median(overload.latency) / np.median(alone)
    print(
        f"at {args.rate:g} Hz in, stamp to mask takes {ratio:.2f} times as long as the model (p50)"
    )
    return 0


def table(alone: NDArray[np.float64], half_load: Timing, overload: Timing, rate: float) -> str:
    """Rows of percentiles; the overhead is the time of each frame less what the model took for that frame.

    Args:
        alone: times of the model in this program, float64 [N], milliseconds.
        half_load: of a camera that leaves the node idle for half of the time.
        overload: of the camera with ``rate``.
        rate: images per second.
    """
    cases = (
        ("model alone", None, alone),
        ("half load: stamp to masks", half_load.sent, half_load.latency),
        ("half load: model", None, half_load.model),
        ("half load: overhead in the node", None, half_load.node - half_load.model),
        ("half load: overhead with DDS", None, half_load.latency - half_load.model),
        (f"{rate:g} Hz in: stamp to masks", overload.sent, overload.latency),
    )
    rows = [[name, sent, len(ms), *np.percentile(ms, PERCENTILES)] for name, sent, ms in cases]
    headers = ["", "sent", "frames", *(f"p{each} ms" for each in PERCENTILES)]
    return tabulate(rows, headers, floatfmt=".1f", intfmt="d")


def _time_model(rgb: RgbImage, args: argparse.Namespace) -> NDArray[np.float64]:
    """Times of the model for one image, float64 [N], milliseconds."""
    segmenter = PartSegmenter.from_pretrained(args.model, backend=args.backend)
    encoded, options = segmenter.encode_queries(QUERIES), SegmentOptions()
    segmenter.segment(rgb, encoded, options)
    times = []
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        segmenter.segment(rgb, encoded, options)
        times.append((time.perf_counter() - start) * 1e3)
    return np.array(times)


def _await_answer(sender: _Sender, processes: NodeProcesses) -> None:
    """Publish images until masks arrive; the first ones wait for the queries and for caches."""
    timer = sender.create_timer(0.2, sender.send)
    _spin(sender, processes, lambda: bool(sender.times_ms), _START_TIMEOUT)
    sender.destroy_timer(timer)


def _measure(
    sender: _Sender, processes: NodeProcesses, rate: float, seconds: float, wait_s: float
) -> Timing:
    """Send images for a time, and wait for the last masks."""
    first = len(sender.sent)
    timer = sender.create_timer(1 / rate, sender.send)
    end = time.monotonic() + seconds
    _spin(sender, processes, lambda: time.monotonic() > end, seconds + 1)
    sender.destroy_timer(timer)
    last = time.monotonic() + wait_s
    _spin(sender, processes, lambda: time.monotonic() > last, wait_s + 1)
    sent = sender.sent[first:]
    answered = [
        (sender.latencies_ms[stamp], *sender.times_ms[stamp])
        for stamp in sent
        if stamp in sender.latencies_ms and stamp in sender.times_ms
    ]
    if not answered:
        raise NodeTimeoutError("the node published no masks; see its log above")
    return Timing(len(sent), *np.array(answered).T)


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
