"""Minutes at 30 Hz with new queries every second and a camera that restarts: no leak, wrong answer or crash.

``OVPS_SOAK_MINUTES=10`` soaks for that long in place of one.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.robot import NODE_STARTS, Robot
from ovps_ros.msg import PartMasks
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import String

from ovps_ros.messages import message_encoder
from ovps_ros.tools.processes import NodeProcesses

SECONDS = 60 * float(os.environ.get("OVPS_SOAK_MINUTES", "1"))
pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(SECONDS + 500)]
PICTURE = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
WARM_UP = min(60.0, SECONDS / 2)
RESTARTS = (0.25 * SECONDS, 0.7 * SECONDS)
WORDS = ("knife handle", "mug rim, pan handle", "handle of the drawer", "chair, seat of the chair")
GROWTH_MB = 10.0


def resident_mb(pid: int) -> float:
    """Memory that a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads memory from /proc")
def test_a_soak_at_30_hz(toy_weights: Path) -> None:
    thresholds = {"score_threshold": 0.0, "mask_threshold": 0.495, "max_age": 5.0}
    with NodeProcesses() as programs:
        process = programs.start(
            "ovps_ros.node",
            {"model": str(toy_weights), **thresholds},
            ["-r", "__node:=soak", "-r", "image:=/soak/image"],
        )
        robot = Robot("soak_robot")
        words = robot.node.create_publisher(String, "/soak/query", 10)
        answers = robot.listen(PartMasks, "/soak/masks")
        robot.spin_until(lambda: robot.node.count_subscribers("/soak/image"), NODE_STARTS)
        stamps, first_mb = _film(robot, process.pid, words)
        grown_mb = resident_mb(process.pid) - first_mb
        robot.close()
        assert programs.stop(process) == 0
    print(f"{len(stamps)} shown, {len(answers)} answered, {grown_mb:.1f} MB grown")
    assert len(answers) > SECONDS  # more than one a second on any machine
    times = [(a.header.stamp.sec, a.header.stamp.nanosec) for a in answers]
    assert times == sorted(set(times)) and set(times) <= stamps
    assert {", ".join(q.text for q in a.queries) for a in answers} == set(WORDS)
    assert grown_mb < GROWTH_MB


def _film(robot: Robot, pid: int, words: object) -> tuple[set[tuple[int, int]], float]:
    """Show 30 pictures a second; (stamps shown, memory after the warm-up)."""
    message, stamps, restarts = (
        message_encoder.image(PICTURE, robot.header()),
        set(),
        list(RESTARTS),
    )
    images = robot.node.create_publisher(Image, "/soak/image", qos_profile_sensor_data)
    start, said, first_mb = time.monotonic(), 0, 0.0
    while (passed := time.monotonic() - start) < SECONDS:
        if passed >= said:
            words.publish(String(data=WORDS[said % len(WORDS)]))
            said += 1
        if restarts and passed > restarts[0]:
            restarts.pop(0)
            robot.node.destroy_publisher(images)
            robot.rest(1.0)
            images = robot.node.create_publisher(Image, "/soak/image", qos_profile_sensor_data)
        if passed > WARM_UP and not first_mb:
            first_mb = resident_mb(pid)
        message.header = robot.header()
        stamps.add((message.header.stamp.sec, message.header.stamp.nanosec))
        images.publish(message)
        robot.rest(1 / 30)
    robot.rest(1.0)
    return stamps, first_mb
