"""Standard messages say the same as our own: boxes, phrases, ids, poses."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from geometry_msgs.msg import PoseArray
from helpers.paths import ROOT
from helpers.robot import NODE_STARTS, Robot
from helpers.vision_messages import provide_vision_msgs
from ovps_ros.msg import PartMasks, PartQuery, Parts3D
from ovps_ros.srv import SetQueries
from rclpy.qos import DurabilityPolicy, QoSProfile

from ovps_core.structures.image_files import load_image
from ovps_ros.standard_topics import topic_name
from ovps_ros.tools.processes import NodeProcesses

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("own_ros_domain")]
PICTURE = np.ascontiguousarray(load_image(ROOT / "docs/images/table.jpg"))
DEPTH = np.full(PICTURE.shape[:2], 0.8, np.float32)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def seer() -> Iterator[Robot]:
    """A robot beside a node with the packaged model and depth."""
    with NodeProcesses() as programs:
        parameters = {"use_depth": True, "max_age": 5.0}
        programs.start("ovps_ros.node", parameters, ["-r", "__node:=seer"])
        robot = Robot("display")
        robot.set_queries = robot.node.create_client(SetQueries, "/seer/set_queries")
        robot.spin_until(lambda: robot.images.get_subscription_count(), NODE_STARTS)
        yield robot
        robot.close()


@pytest.fixture
def vision_msgs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package, also for programs that start later."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PYTHONPATH", "LD_LIBRARY_PATH"):
            patch.setenv(name, os.environ.get(name, ""))
        provide_vision_msgs(tmp_path_factory.mktemp("vision"))
        yield


def same_frame(robot: Robot, *topics: list[Any]) -> list[Any]:
    """Messages of one image on every topic."""

    def together() -> list[Any]:
        robot.show(PICTURE, DEPTH)
        robot.rest(0.2)
        for first in reversed(topics[0]):
            found = [[m for m in topic if m.header.stamp == first.header.stamp] for topic in topics]
            if all(found):
                return [messages[0] for messages in found]
        return []

    return robot.spin_until(together, 60.0)


def test_pose_arrays_are_the_poses_of_all_parts_and_of_each_query(seer: Robot) -> None:
    parts = seer.listen(Parts3D, "/seer/parts_3d")
    poses = seer.listen(PoseArray, "/seer/poses")
    knives = seer.listen(PoseArray, "/seer/poses/knife_handle")
    seer.ask("knife handle", "mug handle")
    # before the first image, so that `ros2 topic echo` finds it
    seer.spin_until(lambda: seer.node.count_publishers("/seer/poses/knife_handle"), 20.0)
    own, everything, of_knives = same_frame(seer, parts, poses, knives)
    assert everything.header == own.header
    assert {part.query.text for part in own.parts} == {"knife handle", "mug handle"}
    assert everything.poses == [part.pose for part in own.parts]
    of_query = [part.pose for part in own.parts if part.query.text == "knife handle"]
    assert of_knives.poses == of_query and len(of_query) == 1


def test_a_long_sentence_has_a_topic_of_its_own_and_the_node_lives_on(seer: Robot) -> None:
    sentence = "take the mug by the part that is not hot, " * 8
    query = PartQuery(text=sentence, object="mug", part="handle")
    assert seer.call(seer.set_queries, SetQueries.Request(queries=[query])).success
    handles = seer.listen(PoseArray, f"/seer/poses/{topic_name(sentence)}")
    parts = seer.listen(Parts3D, "/seer/parts_3d")
    own, of_handle = same_frame(seer, parts, handles)
    assert of_handle.poses == [part.pose for part in own.parts]
    assert len(topic_name(sentence)) <= 60 and topic_name(f"{sentence}!") != topic_name(sentence)
    phrases = [
        "杯子",
        "刀",
        "ручка",
        "café handle",
        "cafè handle",
        "caf handle",
        "query",
        "C++ mug",
    ]
    assert len({topic_name(phrase) for phrase in phrases}) == len(phrases)
    assert all(re.fullmatch("[a-z_][a-z0-9_]*", topic_name(phrase)) for phrase in phrases)
    assert topic_name("the mug's handle") == "the_mug_s_handle"


def test_all_parts_of_an_object_are_told_apart_in_standard_messages(seer: Robot) -> None:
    parts = seer.listen(Parts3D, "/seer/parts_3d")
    rims = seer.listen(PoseArray, "/seer/poses/mug_rim")
    handles = seer.listen(PoseArray, "/seer/poses/mug_handle")
    seer.ask("all parts of the mug")
    own, *by_part = same_frame(seer, parts, rims, handles)
    for name, poses in zip(("rim", "handle"), by_part, strict=True):
        assert poses.poses == [part.pose for part in own.parts if part.query.part == name] != []
    result = seer.find("all parts of the kettle", rgb=PICTURE, node="/seer", seconds=3)
    assert "not in view: kettle " in result.message, result.message


@pytest.mark.slow
@pytest.mark.timeout(900)  # builds the messages where vision_msgs is not installed
def test_detections_and_label_info_equal_our_own_messages(vision_msgs: None, seer: Robot) -> None:
    from vision_msgs.msg import Detection2DArray, Detection3DArray, LabelInfo

    robot = seer
    masks = robot.listen(PartMasks, "/seer/masks")
    parts = robot.listen(Parts3D, "/seer/parts_3d")
    flat = robot.listen(Detection2DArray, "/seer/detections")
    solid = robot.listen(Detection3DArray, "/seer/detections_3d")
    robot.ask("knife handle", "mug handle")
    own, own_3d, boxes, boxes_3d = same_frame(robot, masks, parts, flat, solid)
    assert boxes.header == own.header and boxes_3d.header == own_3d.header
    assert len(boxes.detections) == len(own.parts) > 0
    for found, part in zip(boxes.detections, own.parts, strict=True):
        roi, centre = part.roi, found.bbox.center.position
        assert (found.bbox.size_x, found.bbox.size_y) == (roi.width, roi.height)
        assert (centre.x, centre.y) == (roi.x_offset + roi.width / 2, roi.y_offset + roi.height / 2)
        assert_same_answer(found, part)
    assert len(boxes_3d.detections) == len(own_3d.parts) > 0
    for found, part in zip(boxes_3d.detections, own_3d.parts, strict=True):
        assert (found.bbox.center, found.bbox.size) == (part.pose, part.size)
        assert found.results[0].pose.pose == part.pose
        assert_same_answer(found, part)
    late = robot.listen(LabelInfo, "/seer/label_info", LATCHED)  # after the images: it is latched
    last = robot.spin_until(lambda: late and late[-1])
    named = [{part.id: part.query.text for part in each.parts} for each in masks]
    assert {c.class_id: c.class_name for c in last.class_map} in named


def assert_same_answer(found: Any, part: Any) -> None:
    hypothesis = found.results[0].hypothesis
    assert (hypothesis.class_id, found.id) == (part.query.text, str(part.track_id))
    assert hypothesis.score == pytest.approx(part.score, abs=1e-6)
