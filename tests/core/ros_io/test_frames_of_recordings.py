"""Frames of a recording: camera_info of every kind, in little memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags")

from rosbags.rosbag2 import StoragePlugin, Writer

from ovps_core.ros_io.bags import BagTopics
from ovps_core.ros_io.bags.messages import make_message, message_encoder, typestore
from ovps_core.ros_io.bags.reading import BagFrames, open_bag

HEIGHT, WIDTH, SECOND, COUNT = 100, 100, 10**9, 40
IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"


def info(stamp: int, focal_length: float) -> Any:
    roi = make_message(
        "sensor_msgs/msg/RegionOfInterest",
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False,
    )  # fmt: skip
    k = np.array([focal_length, 0, 50, 0, focal_length, 50, 0, 0, 1.0])
    return make_message(
        INFO, header=message_encoder.header(stamp, "camera"), height=HEIGHT, width=WIDTH,
        distortion_model="plumb_bob", d=np.zeros(5), k=k, r=np.eye(3).ravel(), p=np.zeros(12),
        binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def write(path: Path, *, stamped: bool) -> Path:
    """Images, each with a camera_info that is recorded a little later and has the number of the image."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        to = {
            topic: (writer.add_connection(topic, kind, typestore=typestore()), kind)
            for topic, kind in (("/image", IMAGE), ("/info", INFO))
        }
        for number in range(1, COUNT + 1):
            stamp = number * SECOND
            header = message_encoder.header(stamp, "camera")
            sent = {
                "/image": message_encoder.image(pixels, header),
                "/info": info(stamp if stamped else 0, float(number)),
            }
            for late, (topic, message) in enumerate(sent.items()):
                connection, kind = to[topic]
                writer.write(connection, stamp + late, typestore().serialize_cdr(message, kind))
    return path


def test_camera_info_without_stamps_is_the_last_one_and_no_image_waits(tmp_path: Path) -> None:
    with open_bag(write(tmp_path / "bag", stamped=False)) as reader:
        frames = BagFrames(reader, BagTopics("/image", info="/info"))
        tracemalloc.start()
        numbers = [frame.info.k[0] for frame in frames if frame.info is not None]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert numbers == [1.0, *(float(number) for number in range(1, COUNT))]
    assert peak < COUNT * HEIGHT * WIDTH * 3 / 2, "images are not held until the end"


def test_one_topic_may_have_two_roles(tmp_path: Path) -> None:
    with open_bag(write(tmp_path / "bag", stamped=True)) as reader:
        frames = list(BagFrames(reader, BagTopics("/image", info="/info", depth_info="/info")))
    assert len(frames) == COUNT
    for number, frame in enumerate(frames, start=1):
        assert frame.info is not None and frame.depth_info is not None
        assert frame.info.k[0] == frame.depth_info.k[0] == number
