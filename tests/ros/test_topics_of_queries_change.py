"""Topics of single queries come and go while frames are published."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from geometry_msgs.msg import PoseArray
from helpers.robot import Robot
from std_msgs.msg import Header

from ovps_core.language.parser import parse_query
from ovps_core.structures.camera import CameraIntrinsics
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.part3d import Part3D
from ovps_core.structures.query import PartQuery
from ovps_ros.executor import run_in_executor
from ovps_ros.frame_result import FrameResult3D
from ovps_ros.standard_topics import StandardPublishers

ALWAYS = parse_query("mug handle")
SOMETIMES = tuple(parse_query(f"{name} handle") for name in ("knife", "pan", "kettle", "hammer"))


def part_of(query: PartQuery) -> Part3D:
    return Part3D(1, 1, query, 0.9, np.eye(4), np.ones(3), 1.0, np.zeros(1, np.uint32))


@pytest.mark.ros
@pytest.mark.usefixtures("own_ros_domain")
def test_frames_are_published_while_topics_of_queries_come_and_go() -> None:
    """The executor destroys topics in its thread; the frame's thread never meets a destroyed one."""
    robot = Robot("changes")
    heard = robot.listen(PoseArray, "/changes/poses/mug_handle")
    sometimes = robot.listen(PoseArray, "/changes/poses/hammer_handle")
    publishers = StandardPublishers(robot.node, "~/", use_depth=True)
    camera = CameraIntrinsics(60.0, 60.0, 32.0, 24.0, 64, 48)
    parts = tuple(part_of(query) for query in (ALWAYS, *SOMETIMES)) * 100  # a frame takes a while
    in_3d = FrameResult3D(Header(frame_id="camera"), np.ones((48, 64), np.float32), camera, parts)
    spinning = threading.Thread(target=robot.executor.spin)
    spinning.start()
    try:
        end = time.monotonic() + 3.0
        while time.monotonic() < end:
            for queries in ((ALWAYS, *SOMETIMES), (ALWAYS,)):
                run_in_executor(robot.node, publishers.show_queries, queries)
                for _ in range(2):
                    publishers.publish_3d(in_3d, PartMasks(48, 64, queries, (), "model"))
                    time.sleep(0.02)
    finally:
        robot.executor.shutdown()
        spinning.join(10.0)
        robot.close()
    assert heard and sometimes
