"""Encoding two thousand new queries does not delay the images."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.robot import NODE_STARTS, Robot
from ovps_ros.msg import PartQuery
from ovps_ros.srv import SetQueries
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from ovps_core.ros_io.codec import nanoseconds

pytestmark = pytest.mark.ros
PICTURE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
PERIOD = 0.05  # seconds between two images
WORDS = 2000  # take a second or so


def film(robot: Robot, until: Callable[[], bool]) -> dict[int, float]:
    """Show pictures until ``until()``; seconds from stamp to answer, of those asked few queries."""
    robot.masks.clear()
    waits: dict[int, float] = {}
    due = end = time.monotonic()
    end += NODE_STARTS
    while not until() and time.monotonic() < end:
        if time.monotonic() >= due:
            robot.show(PICTURE)
            due += PERIOD
        robot.executor.spin_once(timeout_sec=0.005)
        now = robot.node.get_clock().now().nanoseconds
        while robot.masks:
            answer = robot.masks.pop(0)
            if len(answer.queries) < 10:
                stamp = nanoseconds(answer.header.stamp)
                waits[stamp] = (now - stamp) / 1e9
    return waits


@pytest.mark.parametrize("way", ["service", "topic"])
def test_images_flow_on_while_queries_are_encoded(robot: Robot, way: str) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    active = robot.listen(String, "/ovps/queries", latched)
    robot.ask("knife handle", "mug rim")
    robot.answer(PICTURE)
    texts = [f"{way} {i}th knife handle" for i in range(WORDS)]  # new words: nothing is in a cache
    asked_at = time.monotonic()
    if way == "service":
        request = SetQueries.Request(queries=[PartQuery(text=text) for text in texts])
        future = robot.set_queries.call_async(request)
        waits = film(robot, future.done)
        assert future.result().success and len(future.result().active) == WORDS
    else:
        robot.say("\n".join(texts))
        waits = film(robot, lambda: len(active[-1].data.splitlines()) == WORDS)
    encoded_in = time.monotonic() - asked_at
    robot.ask("knife handle")
    print(f"{way}: encoded in {encoded_in:.2f} s; {len(waits)} images, {max(waits.values()):.3f} s")
    assert len(waits) >= 3
    assert max(waits.values()) < encoded_in / 2, "an image waited for the words"
