"""A colour image is matched to depth, camera_info and objects of its stamp, also if the model is slow."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ovps_core.pipeline.objects import objects_from_boxes
from ovps_core.pipeline.tracking import Tracker
from ovps_core.ros_io.codec import nanoseconds
from ovps_core.structures.masks import PartMasks
from ovps_ros.depth_sync import DepthBuffer, StampedBuffer
from ovps_ros.diagnostics import FaultReporter
from ovps_ros.latest_frames import Frame
from ovps_ros.messages import message_encoder
from ovps_ros.parameters import Settings
from ovps_ros.pipeline import Pipeline

FRAME_NS = 33_333_333
SLOP = 0.02


def depth_at(stamp_ns: int) -> Image:
    header = Header()
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return message_encoder.image(np.ones((4, 4), np.float32), header)


def test_the_nearest_within_the_slop_is_taken() -> None:
    buffer = DepthBuffer()
    for i in range(5):
        buffer.put(depth_at(i * FRAME_NS))
    image, why_not = buffer.take_nearest(2 * FRAME_NS + 1_000_000, SLOP)
    assert image is not None and nanoseconds(image.header.stamp) == 2 * FRAME_NS and not why_not


def test_none_is_better_than_a_wrong_one() -> None:
    buffer = DepthBuffer()
    assert buffer.take_nearest(0, SLOP) == (None, "no depth image has come")
    buffer.put(depth_at(0))
    image, why_not = buffer.take_nearest(1_200_000_000, SLOP)
    assert image is None and "1.200 s older" in why_not


def test_a_model_of_a_second_still_finds_the_depth_of_its_image() -> None:
    buffer = DepthBuffer()
    buffer.put(depth_at(0))
    buffer.reserve(0)
    for i in range(1, 30):
        buffer.put(depth_at(i * FRAME_NS))
    image, _ = buffer.take_nearest(0, SLOP)
    assert image is not None and nanoseconds(image.header.stamp) == 0
    buffer.reserve(29 * FRAME_NS)
    assert buffer.take_nearest(0, SLOP)[0] is None, "held for one image only"


def test_depth_that_comes_after_its_image_is_kept_too() -> None:
    buffer = DepthBuffer()
    buffer.reserve(0)
    for i in range(30):
        buffer.put(depth_at(i * FRAME_NS))
    image, _ = buffer.take_nearest(0, SLOP)
    assert image is not None and nanoseconds(image.header.stamp) == 0


def test_of_equal_stamps_the_newest_is_taken() -> None:
    buffer = DepthBuffer()
    images = [depth_at(FRAME_NS) for _ in range(5)]
    for image in images:
        buffer.put(image)
    assert buffer.take_nearest(FRAME_NS, SLOP)[0] is images[-1]


def test_without_stamps_depth_is_matched_by_arrival() -> None:
    buffer, before, own = DepthBuffer(), depth_at(0), depth_at(0)
    buffer.put(before)
    time.sleep(0.1)
    arrived_at = time.monotonic()
    buffer.reserve(0, arrived_at)
    image, why_not = buffer.take_nearest(0, SLOP, arrived_at=arrived_at)
    assert image is None and "has no stamp and came" in why_not and "earlier" in why_not
    buffer.reserve(0, arrived_at := time.monotonic())
    buffer.put(own)
    for _ in range(20):
        buffer.put(depth_at(0))
    assert buffer.take_nearest(0, 1.0, arrived_at=arrived_at)[0] is own


def info_at(stamp_ns: int, focal_length: float) -> CameraInfo:
    info = CameraInfo(header=depth_at(stamp_ns).header)
    info.k[0] = focal_length
    return info


def focal_length(buffer: DepthBuffer) -> float:
    return float(buffer.infos.of_reserved().k[0])


def test_an_image_has_its_own_camera_info_also_if_newer_ones_come() -> None:
    buffer = DepthBuffer()
    for i in range(5):
        buffer.infos.put(info_at(i * FRAME_NS, 100.0 + i))
    buffer.reserve(2 * FRAME_NS)
    for i in range(5, 30):
        buffer.infos.put(info_at(i * FRAME_NS, 100.0 + i))
    assert focal_length(buffer) == 102.0
    buffer.reserve(30 * FRAME_NS)
    assert focal_length(buffer) == 129.0, "the newest, as long as its own has not come"
    buffer.infos.put(info_at(30 * FRAME_NS, 130.0))
    assert focal_length(buffer) == 130.0


@pytest.mark.parametrize("stamp_ns", [0, 7, 10**15])
def test_camera_info_that_comes_once_serves_all_images(stamp_ns: int) -> None:
    buffer = DepthBuffer()
    buffer.reserve(FRAME_NS)
    assert buffer.infos.of_reserved() is None
    buffer.infos.put(info_at(stamp_ns, 600.0))
    for i in range(20):
        buffer.reserve(10**12 + i * FRAME_NS)
        assert focal_length(buffer) == 600.0
    buffer.infos.put(info_at(stamp_ns, 300.0))
    assert focal_length(buffer) == 600.0, "it came after the image"
    buffer.reserve(2 * 10**12)
    assert focal_length(buffer) == 300.0


def test_what_came_before_a_pause_is_forgotten() -> None:
    buffer = DepthBuffer()
    buffer.put(depth_at(0))
    buffer.infos.put(info_at(0, 600.0))
    buffer.reserve(0)
    buffer.clear()
    buffer.reserve(0)
    assert buffer.is_empty and buffer.infos.of_reserved() is None
    assert buffer.take_nearest(0, SLOP)[1] == "no depth image has come"


def pipeline_of(camera: SimpleNamespace) -> tuple[Pipeline, SimpleNamespace, list[str]]:
    """A pipeline whose segmenter keeps the objects that it is given, and its log."""
    log: list[str] = []
    faults = FaultReporter(lambda _, text: log.append(text))
    segmenter = SimpleNamespace(objects=None)

    def segment(images: object, *_: object, objects: object) -> list[PartMasks]:
        segmenter.objects = objects
        return [PartMasks(4, 4, (), (), "none")]

    segmenter.segment_batch = segment
    return Pipeline(segmenter, {"": camera}, faults, None), segmenter, log


@pytest.mark.parametrize(
    ("off_ns", "stamp_ns", "is_own"),
    [(0, FRAME_NS, True), (-900, FRAME_NS, True), (-16_000_000, FRAME_NS, False), (0, 0, False)],
)
def test_objects_of_another_image_are_not_taken(off_ns: int, stamp_ns: int, is_own: bool) -> None:
    objects = StampedBuffer("message with objects")
    camera = SimpleNamespace(objects=objects, depth=None, tracker=Tracker())
    pipeline, segmenter, log = pipeline_of(camera)
    found = objects_from_boxes([("mug", (0, 0, 2, 2))], 4, 4)
    known = PartMasks(4, 4, (), (), "detector", objects=found)
    objects.put(message_encoder.masks(known, depth_at(max(0, stamp_ns + off_ns)).header))
    image = message_encoder.image(np.zeros((4, 4, 3), np.uint8), depth_at(stamp_ns).header)
    started = time.monotonic()
    timeout = 2.0 if is_own else 0.1
    pipeline.process([Frame("", image)], None, Settings(sync_slop=1.0, object_timeout=timeout))
    assert bool(segmenter.objects[0]) == is_own == (not log)
    assert time.monotonic() - started < 1.5, "a stamp that was rounded is not waited for"
