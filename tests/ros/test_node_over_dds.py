"""The node in a process of its own, over DDS: queries by topic, service and action, and their results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from action_msgs.msg import GoalStatus
from helpers.robot import Robot
from ovps_ros.action import FindParts
from ovps_ros.msg import PartQuery, Parts3D
from ovps_ros.srv import SetQueries
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import String

from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.ros_io.codec import masks_value
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.camera import CameraIntrinsics

pytestmark = pytest.mark.ros
OPTIONS = SegmentOptions(score_threshold=0.0, mask_threshold=0.495)
PICTURE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
DEPTH = np.full((240, 320), 0.8, np.float32)


@pytest.fixture(scope="module")
def segmenter(toy_weights: Path) -> PartSegmenter:
    """The same model without ROS."""
    return PartSegmenter.from_pretrained(str(toy_weights))


def test_answer_carries_the_images_own_header_and_the_masks_of_the_library(
    robot: Robot, segmenter: PartSegmenter
) -> None:
    robot.ask("knife handle", "mug rim")
    message = robot.answer(PICTURE)  # answer() accepts only headers that were sent
    assert message.header.frame_id == "camera_color_optical_frame"
    assert message.model == segmenter.name
    assert 0 < message.latency.sec + message.latency.nanosec * 1e-9 < 5
    masks = masks_value(message)
    expected = segmenter.segment(PICTURE, ["knife handle", "mug rim"], OPTIONS)
    assert masks.queries == expected.queries
    assert len(masks.parts) == len(expected.parts) > 0
    for part, twin in zip(masks.parts, expected.parts, strict=True):
        assert (part.box, part.query, part.id) == (twin.box, twin.query, twin.id)
        assert part.score == pytest.approx(twin.score, abs=1e-5)
        np.testing.assert_array_equal(part.mask, twin.mask)
    for part in message.parts:
        assert part.mask.header == message.header
        assert part.mask.encoding == "mono8"
        assert part.track_id > 0


def test_a_query_by_topic_is_answered_by_the_next_processed_image(robot: Robot) -> None:
    active = robot.listen(
        String, "/ovps/queries", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    )
    robot.ask("knife handle")
    robot.answer(PICTURE)
    robot.say("mug rim, the handle of the pan")
    robot.spin_until(lambda: active and "pan" in active[-1].data)
    message = robot.answer(PICTURE)  # of an image that was shown after that
    assert [(q.object, q.part) for q in message.queries] == [("mug", "rim"), ("pan", "handle")]
    assert active[-1].data.splitlines() == ["mug rim", "the handle of the pan"]


def test_service_appends_replaces_and_explains(robot: Robot) -> None:
    response = robot.ask("knife handle")
    assert response.success
    response = robot.ask("mug rim", append=True)
    assert [(q.object, q.part) for q in response.active] == [("knife", "handle"), ("mug", "rim")]
    response = robot.ask("!!")
    assert not response.success and "'!!'" in response.message
    assert len(response.active) == 2
    request = SetQueries.Request(queries=[PartQuery(text="it", object="knife", part="blade")])
    assert robot.call(robot.set_queries, request).active[0].part == "blade"


def test_refused_phrases_are_named_everywhere_and_the_others_are_active(robot: Robot) -> None:
    response = robot.ask("knife handle", "!!")
    assert response.success and [q.text for q in response.active] == ["knife handle"]
    assert [q.text for q in response.refused] == ["!!"] and "'!!'" in response.message
    message = robot.answer(PICTURE)
    assert [q.text for q in message.queries] == ["knife handle"]
    assert [q.text for q in message.refused] == ["!!"] and "'!!'" in message.refused[0].reason
    assert masks_value(message).refused[0].text == "!!"
    robot.fault("query", "'!!'", hint="the others are active")
    robot.say("mug rim, ?!")
    robot.spin_until(lambda: "'?!'" in robot.faults()["ovps: query"][1])
    message = robot.answer(PICTURE)
    assert [q.text for q in message.queries] == ["mug rim"]
    assert [q.text for q in message.refused] == ["?!"]
    response = robot.ask("!!")
    assert not response.success and [q.text for q in response.refused] == ["!!"]
    assert robot.ask("knife handle").success and not robot.answer(PICTURE).refused


def test_a_goal_looks_for_what_is_not_refused(robot: Robot) -> None:
    robot.ask()
    answer = robot.find("mug rim", "!!", rgb=PICTURE)
    assert answer.status == FindParts.Result.OK and "'!!'" in answer.message
    assert [q.text for q in answer.queries] == ["mug rim"]
    assert [q.text for q in answer.refused] == ["!!"]
    assert [q.text for q in answer.masks.queries] == ["mug rim"]
    assert [q.text for q in answer.masks.refused] == ["!!"]


def test_nothing_found_is_said_and_nothing_asked_is_silence(robot: Robot) -> None:
    robot.ask("knife handle")
    request = SetQueries.Request(queries=[PartQuery(text="knife handle", threshold=1.0)])
    assert robot.call(robot.set_queries, request).success
    message = robot.answer(PICTURE)
    assert len(message.parts) == 0 and [q.text for q in message.queries] == ["knife handle"]
    robot.ask()
    shown = []
    for _ in range(3):
        shown.append(robot.show(PICTURE))
        robot.rest(0.2)
    assert not [masks for masks in robot.masks if masks.header in shown]


def test_labels_masks_indices_and_cloud_agree(robot: Robot) -> None:
    labels, clouds = robot.listen(Image, "/ovps/labels"), robot.listen(PointCloud2, "/ovps/points")
    spaces, overlays = robot.listen(Parts3D, "/ovps/parts_3d"), robot.listen(Image, "/ovps/overlay")
    robot.ask("knife handle", "mug rim")
    everything = (labels, clouds, spaces, overlays)
    for _ in range(60):
        message = robot.answer(PICTURE, DEPTH)
        same = [
            next((m for m in heard if m.header == message.header), None) for heard in everything
        ]
        if all(same):
            break
    label, cloud, space, overlay = same
    masks = masks_value(message)
    ids = np.frombuffer(label.data, np.uint16).reshape(label.height, label.width)
    np.testing.assert_array_equal(ids, masks.label_image())
    assert (overlay.encoding, overlay.height, overlay.width) == ("rgb8", 240, 320)
    points = np.frombuffer(cloud.data, np.float32).reshape(240, 320, -1)
    camera = CameraIntrinsics.from_matrix([600, 0, 160, 0, 600, 120, 0, 0, 1], 320, 240)
    np.testing.assert_allclose(points[..., :3], camera.cloud(DEPTH), rtol=1e-6)
    np.testing.assert_array_equal(points.view(np.uint32)[..., 4], ids)
    assert len(space.parts) > 0
    for part in space.parts:
        mask = next(p for p in masks.parts if p.id == part.id).full(240, 320)
        np.testing.assert_array_equal(np.flatnonzero(mask), np.sort(np.array(part.indices)))
        assert part.depth_coverage == pytest.approx(1.0)
        assert 0.5 < part.pose.position.z < 1.0


def test_action_answers_once_all_are_seen(robot: Robot) -> None:
    robot.ask()
    answer = robot.find("mug rim", rgb=PICTURE, depth=DEPTH, min_frames=2, want_3d=True)
    assert (answer.status, answer.message) == (FindParts.Result.OK, "all were seen")
    assert [q.text for q in answer.masks.queries] == ["mug rim"]
    assert len(answer.parts_3d.parts) > 0


@pytest.mark.parametrize(
    ("query", "pictures", "want_3d", "status"),
    [
        (PartQuery(text="mug rim"), False, False, FindParts.Result.NO_IMAGE),
        (PartQuery(text="mug rim", threshold=1.0), True, False, FindParts.Result.NOT_FOUND),
        (PartQuery(text="mug rim"), True, True, FindParts.Result.NO_DEPTH),
        (PartQuery(text="???"), False, False, FindParts.Result.BAD_QUERY),
        (PartQuery(text="not the knife"), False, False, FindParts.Result.BAD_QUERY),
    ],
)
def test_action_says_why_not(
    robot: Robot, query: PartQuery, pictures: bool, want_3d: bool, status: int
) -> None:
    robot.ask()
    answer = robot.find(query, rgb=PICTURE if pictures else None, seconds=1, want_3d=want_3d)
    assert answer.status == status
    assert answer.message


def test_goals_execute_side_by_side_until_each_is_cancelled(robot: Robot) -> None:
    robot.ask()
    first, first_result = robot.begin(PartQuery(text="mug rim", threshold=1.0))
    robot.spin_until(lambda: first.status == GoalStatus.STATUS_EXECUTING)
    # pushes nobody out
    second, second_result = robot.begin(PartQuery(text="pan handle", threshold=1.0))
    robot.spin_until(lambda: second.status == GoalStatus.STATUS_EXECUTING)
    assert first.status == GoalStatus.STATUS_EXECUTING
    assert robot.answer_to(PICTURE, "mug rim", "pan handle")
    first.cancel_goal_async()
    robot.spin_until(first_result.done)
    assert first_result.result().status == GoalStatus.STATUS_CANCELED
    assert first_result.result().result.message == "cancelled"
    assert robot.answer_to(PICTURE, "pan handle")
    assert second.status == GoalStatus.STATUS_EXECUTING and not second_result.done()
    second.cancel_goal_async()
    robot.spin_until(second_result.done)
    assert second_result.result().status == GoalStatus.STATUS_CANCELED


def test_a_goal_that_is_done_cannot_be_cancelled(robot: Robot) -> None:
    goal, result = robot.begin("???")
    robot.spin_until(result.done)
    assert result.result().status == GoalStatus.STATUS_ABORTED
    cancelled = goal.cancel_goal_async()
    robot.spin_until(cancelled.done)
    assert not cancelled.result().goals_canceling


def test_parameters_are_described_ranged_and_live(robot: Robot) -> None:
    describe = robot.node.create_client(DescribeParameters, "/ovps/describe_parameters")
    request = DescribeParameters.Request(names=["score_threshold", "model"])
    score, model = robot.call(describe, request).descriptors
    assert score.description and score.floating_point_range[0].to_value == 1.0
    assert "next configure" in model.description
    client = robot.node.create_client(SetParameters, "/ovps/set_parameters")

    def put(name: str, value: object) -> object:
        message = Parameter(name, value=value).to_parameter_msg()
        return robot.call(client, SetParameters.Request(parameters=[message])).results[0]

    refused = put("score_threshold", 1.5)
    assert not refused.successful and "score_threshold" in refused.reason
    assert not put("depth_range", [3.0, 0.1]).successful
    robot.ask("knife handle")
    assert put("score_threshold", 1.0).successful
    assert len(robot.answer(PICTURE).parts) == 0
    assert put("score_threshold", 0.0).successful
    assert len(robot.answer(PICTURE).parts) > 0
    for name, value, reason in (
        ("backend", "zzz", "unknown backend 'zzz'"),
        ("precision", "fp99", "unknown precision 'fp99'"),
        ("device", "gpu", "unknown device 'gpu'"),
        ("calibration", "/nonexistent", "no pictures in /nonexistent"),
        ("model", "nonexistent", "no model, file or folder"),
    ):
        refused = put(name, value)
        assert not refused.successful and reason in refused.reason, name
    assert put("queries", ["mug handle"]).successful
    assert put("queries", []).successful  # rclpy takes it for a list of bytes
    robot.spin_until(lambda: not robot.ask("mug rim", append=True).active[1:])
    assert not put("depth_range", []).successful
    assert put("queries", ["pan handle"]).successful
    assert robot.ask("mug rim", append=True).active[0].text == "pan handle"
