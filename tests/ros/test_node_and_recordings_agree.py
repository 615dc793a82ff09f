"""The same images give the same masks and poses from the running node and from ``ovps bag annotate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")
pytest.importorskip("rosbags")

from helpers.robot import Robot
from ovps_ros.msg import Parts3D
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import CameraInfo, Image

from ovps_core import PartSegmenter, SegmentOptions
from ovps_core.ros_io.bags import AnnotateOptions, BagTopics, annotate
from ovps_core.ros_io.bags.messages import typestore
from ovps_core.ros_io.bags.reading import open_bag
from ovps_core.ros_io.codec import masks_value
from ovps_core.ros_io.depth_frames import DepthOptions
from ovps_ros.messages import message_encoder

pytestmark = pytest.mark.ros
QUERIES = ("knife handle", "mug rim")
HEIGHT, WIDTH = 240, 320
# As the robot's node is started.
SEGMENT = SegmentOptions(score_threshold=0.0, mask_threshold=0.495)


def record(path: Path, frames: list[tuple[np.ndarray, np.ndarray, Any]]) -> None:
    """Write what a recorder would have written of these pictures."""
    kinds = {"/image": Image, "/depth": Image, "/camera_info": CameraInfo}
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to = {
            topic: writer.add_connection(
                topic, f"sensor_msgs/msg/{kind.__name__}", typestore=typestore()
            )
            for topic, kind in kinds.items()
        }
        for number, (rgb, depth, header) in enumerate(frames, start=1):
            info = CameraInfo(header=header, width=WIDTH, height=HEIGHT)
            info.k = [600.0, 0, WIDTH / 2, 0, 600.0, HEIGHT / 2, 0, 0, 1.0]
            messages = {
                "/camera_info": info,
                "/depth": message_encoder.image(depth, header),
                "/image": message_encoder.image(rgb, header),
            }
            for topic, message in messages.items():
                writer.write(to[topic], number, serialize_message(message))


def test_live_and_recorded_images_get_the_same_parts(
    robot: Robot, toy_weights: Path, tmp_path: Path
) -> None:
    spaces = robot.listen(Parts3D, "/ovps/parts_3d")
    robot.ask(*QUERIES)
    frames, live = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        rgb = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        depth = rng.uniform(0.5, 0.6, (HEIGHT, WIDTH)).astype(np.float32)
        masks = robot.answer(rgb, depth)
        while not any(space.header == masks.header for space in spaces):
            robot.rest(0.1)
            masks = robot.answer(rgb, depth)
        space = next(space for space in spaces if space.header == masks.header)
        frames.append((rgb, depth, masks.header))
        live.append((masks_value(masks), space))
    record(tmp_path / "bag", frames)
    annotate(
        tmp_path / "bag",
        BagTopics("/image", "/depth", "/camera_info"),
        tmp_path / "masks",
        PartSegmenter.from_pretrained(str(toy_weights)),
        QUERIES,
        AnnotateOptions(SEGMENT, depth=DepthOptions(min_coverage=0.05)),
    )
    recorded: dict[str, list[Any]] = {"/ovps/masks": [], "/ovps/parts_3d": []}
    with open_bag(tmp_path / "masks") as reader:
        for connection, _, raw in reader.messages():
            recorded[connection.topic].append(reader.deserialize(raw, connection.msgtype))
    offline = zip(*recorded.values(), strict=True)
    for (here, space), (message, parts) in zip(live, offline, strict=True):
        there = masks_value(message)
        assert message.header.frame_id == parts.header.frame_id == space.header.frame_id
        assert here.queries == there.queries and here.model == there.model
        assert len(here.parts) > 0
        for a, b in zip(here.parts, there.parts, strict=True):
            assert (a.id, a.query, a.box) == (b.id, b.query, b.box)
            assert a.score == pytest.approx(b.score, abs=1e-5)
            np.testing.assert_array_equal(a.mask, b.mask)
        assert len(space.parts) > 0
        for a, b in zip(space.parts, parts.parts, strict=True):
            np.testing.assert_array_equal(a.indices, b.indices)
            for axis in "xyz":
                assert getattr(a.size, axis) == pytest.approx(getattr(b.size, axis), abs=1e-6)
                here_at, there_at = getattr(a.pose.position, axis), getattr(b.pose.position, axis)
                assert here_at == pytest.approx(there_at, abs=1e-6)
