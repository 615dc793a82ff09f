"""The console alone tells a user what is wrong: no image, no usable query, or a cv_bridge that does not work."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

import numpy as np
from helpers.robot import NODE_STARTS, Robot
from sensor_msgs.msg import Image

from ovps_ros.tools.processes import NodeProcesses

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("own_ros_domain")]
CV_BRIDGE = Path("/usr/lib/python3/dist-packages/cv_bridge")
PICTURE = np.zeros((48, 64, 3), np.uint8)


def test_missing_images_are_on_the_console_with_the_line_to_paste(
    toy_weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with NodeProcesses() as programs:
        robot = Robot("seeker")
        robot.node.create_publisher(Image, "/lost_camera/image_raw", 1)
        programs.start("ovps_ros.node", {"model": str(toy_weights), "backend": "torch"})
        robot.spin_until(lambda: robot.images.get_subscription_count(), NODE_STARTS)
        robot.node.destroy_publisher(robot.images)  # nobody publishes on /image any more
        log = await_line(robot, capfd, "no image for")
        assert log.count("no image for") == 1
        assert "no publisher on /image" in log
        assert "image:=/lost_camera/image_raw. With ros2 run: --ros-args -r image:=" in log
        assert "--ros-args -r image:=/lost_camera/image_raw" in log
        robot.close()


def test_a_start_whose_phrases_are_all_refused_says_that_none_is_active(toy_weights: Path) -> None:
    with NodeProcesses() as programs:
        robot = Robot("refused")
        parameters = {"model": str(toy_weights), "queries": ["not the mug"], "backend": "torch"}
        programs.start("ovps_ros.node", parameters)

        def hint() -> str:
            return robot.faults().get("ovps: query", (b"", "", {}))[2].get("hint", "")

        assert robot.spin_until(hint, NODE_STARTS).startswith("no query is active")
        robot.close()


@pytest.mark.skipif(not CV_BRIDGE.is_dir(), reason="apt install python3-cv-bridge")
@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="breaks beside NumPy 2 only")
def test_a_broken_cv_bridge_is_named_once_and_images_are_answered(
    toy_weights: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "cv_bridge").symlink_to(CV_BRIDGE)
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    with NodeProcesses() as programs:
        programs.start("ovps_ros.node", {"model": str(toy_weights), "max_age": 5.0})
        robot = Robot("bridged")
        robot.spin_until(lambda: robot.images.get_subscription_count(), NODE_STARTS)
        robot.ask("knife handle")
        robot.answer(PICTURE)
        log = await_line(robot, capfd, "cv_bridge is installed but")
        assert log.count("cv_bridge is installed but") == 1
        assert 'pip install "numpy<2"' in log
        robot.close()


def await_line(robot: Robot, capfd: pytest.CaptureFixture[str], words: str) -> str:
    """The log of the node until it says ``words`` and for a second more."""
    log = ""
    end = time.monotonic() + 20
    while time.monotonic() < end and words not in log:
        robot.rest(0.5)
        log += "".join(capfd.readouterr())
    robot.rest(1.5)
    return log + "".join(capfd.readouterr())
