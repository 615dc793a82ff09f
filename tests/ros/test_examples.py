"""The scripts of examples/ that run beside the node, over DDS."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.robot import Robot
from ovps_ros.msg import Parts3D
from rosbags.highlevel import AnyReader

from ovps_core.ros_io.bags import BagTopics, extract
from ovps_core.ros_io.bags.messages import typestore

pytestmark = pytest.mark.ros
PICTURE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
DEPTH = np.full((240, 320), 0.8, np.float32)
LINE = re.compile(
    r"(.+) #(\d+): x (\S+) y (\S+) z (\S+) m in (\S+), grasp width (\d+) mm, (\d+) pixels"
)


class Script:
    """A script of examples/ that runs as a user starts it; its output grows in a file."""

    def __init__(self, name: str, output: Path, *arguments: str) -> None:
        self._output = output
        with output.open("w") as stream:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "examples" / name), *arguments],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def lines(self) -> list[str]:
        """The complete lines that it printed until now."""
        return self._output.read_text().split("\n")[:-1]

    def interrupt(self) -> int:
        """End it with Ctrl-C; its exit status."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Its exit status when it has ended."""
        try:
            return self._process.wait(60)
        finally:
            self._process.kill()


@pytest.fixture
def consumer(robot: Robot, tmp_path: Path) -> Iterator[Script]:
    script = Script("grasp_consumer.py", tmp_path / "said.txt")
    robot.spin_until(lambda: robot.node.count_subscribers("/ovps/parts_3d"))
    yield script
    assert script.interrupt() == 0


def test_grasp_consumer_prints_the_poses_and_masks_that_the_node_sends(
    robot: Robot, consumer: Script
) -> None:
    poses = robot.listen(Parts3D, "/ovps/parts_3d")
    robot.ask("knife handle", "mug rim")
    robot.answer(PICTURE, DEPTH)

    def printed() -> bool:
        robot.show(PICTURE, DEPTH)
        robot.rest(0.2)
        return len(consumer.lines()) >= 2

    robot.spin_until(printed)
    robot.rest(0.5)  # the message of the last line
    expected = {}
    for masks in robot.masks:
        pixels = {part.id: np.count_nonzero(part.mask.data) for part in masks.parts}
        for message in poses:
            if message.header == masks.header:
                for part in message.parts:
                    place = part.pose.position
                    values = (*(f"{v:.3f}" for v in (place.x, place.y, place.z)),)
                    width = f"{1000 * part.size.y:.0f}"
                    key = part.query.text, str(part.track_id), *values
                    expected[key] = message.header.frame_id, width, str(pixels[part.id])
    lines = [LINE.fullmatch(line) for line in consumer.lines()]
    assert lines and all(lines), consumer.lines()
    compared = 0
    for match in lines:
        assert match is not None
        groups = match.groups()
        if groups[:5] in expected:
            assert groups[5:] == expected[groups[:5]]
            compared += 1
    assert compared, "no line belongs to a message that the robot heard"


def test_recorded_masks_and_images_become_a_data_set(robot: Robot, tmp_path: Path) -> None:
    bag = tmp_path / "kitchen"
    robot.ask("knife handle")
    script = Script("record_masks.py", tmp_path / "said.txt", str(bag), "/sim_camera/truth")
    # the node and the script both listen to the images
    robot.spin_until(lambda: robot.images.get_subscription_count() >= 2)
    robot.spin_until(lambda: robot.node.count_subscribers("/ovps/masks") >= 2)
    # A subscriber of an earlier test may still be counted, so give the node time to know the script's.
    robot.rest(2.0)
    for _ in range(10):
        robot.answer(PICTURE, DEPTH)
    robot.rest(1.0)
    assert script.interrupt() == 0
    topics = ["/image", "/ovps/masks", "/sim_camera/truth"]
    assert script.lines() == [f"recording {topic}" for topic in topics]

    with AnyReader([bag], default_typestore=typestore()) as reader:
        messages = [
            (connection.topic, reader.deserialize(raw, connection.msgtype))
            for connection, _, raw in reader.messages()
        ]
    masks = [message for topic, message in messages if topic == "/ovps/masks"]
    assert len(masks) >= 3 and masks[0].queries[0].text == "knife handle"
    manifest = extract(bag, BagTopics("/image", masks="/ovps/masks"), tmp_path / "set")
    assert manifest["images"] >= 3 and manifest["annotations"] > 0


def test_the_recorder_says_what_it_expects(tmp_path: Path) -> None:
    script = Script("record_masks.py", tmp_path / "said.txt")
    assert script.wait() == 1
    assert script.lines() == [
        "give the folder of the recording: python examples/record_masks.py kitchen"
    ]
    script = Script("record_masks.py", tmp_path / "said.txt", str(tmp_path))
    assert script.wait() == 1, "a recording replaces nothing"
    assert script.lines() == [f"{tmp_path} exists already; give another folder"]
