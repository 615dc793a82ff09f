"""A colour image is matched to the depth image of its stamp, also if the model is slower than the camera."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ovps_core.ros_io.codec import nanoseconds
from ovps_ros.depth_sync import DepthBuffer
from ovps_ros.messages import message_encoder

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
