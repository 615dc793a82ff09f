"""A goal of find_parts counts parts, not phrases: each with its own margin and its own depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")
pytest.importorskip("rosbags", reason="pip install 'ovps[bags]'")

from helpers.robot import NODE_STARTS, Robot
from ovps_ros.action import FindParts
from ovps_ros.msg import PartQuery as PartQueryMessage
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters

from ovps_core.language.parser import parse_query
from ovps_core.ros_io.codec import nanoseconds
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery
from ovps_ros.messages import message_encoder
from ovps_ros.tools.processes import NodeProcesses
from ovps_ros.tools.record import Recorder

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("own_ros_domain")]
PICTURE = np.zeros((48, 64, 3), np.uint8)
HANDLE = parse_query("mug handle")
NEAREST = PartQuery("nearest mug handle", "mug", "handle", which="nearest")
SURE, UNSURE = Box(4, 10, 20, 12), Box(38, 30, 20, 12)


def depth_at(*boxes: Box) -> np.ndarray:
    """Depth in millimetres that was measured in some places only."""
    depth = np.zeros((48, 64), np.uint16)
    for box in boxes:
        depth[box.slices] = 800
    return depth


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One answer: a handle that is sure, one with a higher score that has a rival, and the nearest one."""
    folder, mask = tmp_path_factory.mktemp("recording") / "masks", np.ones((12, 20), bool)
    unsure = PartMask(1, HANDLE, 0.9, UNSURE, mask, margin=0.05)
    sure = PartMask(2, HANDLE, 0.6, SURE, mask, margin=0.9)
    nearest = PartMask(3, NEAREST, 0.5, SURE, mask, margin=0.9)
    masks = PartMasks(48, 64, (HANDLE, NEAREST), (unsure, sure, nearest), "model")
    with Recorder(folder) as recorder:
        header = message_encoder.header(1, "camera")
        recorder.write("/ovps/masks", message_encoder.masks(masks, header), 1)
    return folder


@pytest.fixture(scope="module")
def robot(recording: Path) -> Iterator[Robot]:
    parameters = {"model": f"recorded:{recording}", "use_depth": True, "max_age": 5.0}
    with NodeProcesses() as programs:
        programs.start("ovps_ros.node", {**parameters, "sync_slop": 0.1, "min_area": 1})
        robot = Robot("grasper")
        robot.spin_until(lambda: robot.images.get_subscription_count(), NODE_STARTS)
        yield robot
        robot.close()


def test_only_parts_with_the_margin_are_in_the_result(robot: Robot) -> None:
    result = robot.find("mug handle", rgb=PICTURE, min_margin=0.3)
    assert result.status == FindParts.Result.OK
    assert [round(part.margin, 2) for part in result.masks.parts] == [0.9]


def test_depth_of_another_part_does_not_count(robot: Robot) -> None:
    wanted = {"rgb": PICTURE, "min_margin": 0.3, "want_3d": True}
    result = robot.find("mug handle", depth=depth_at(UNSURE), seconds=2, **wanted)
    assert result.status == FindParts.Result.NO_DEPTH, result.message
    assert "without depth: mug handle" in result.message
    result = robot.find("mug handle", depth=depth_at(SURE, UNSURE), **wanted)
    assert result.status == FindParts.Result.OK, result.message
    assert [part.id for part in result.parts_3d.parts] == [part.id for part in result.masks.parts]


def test_depth_that_was_there_is_not_what_is_missing(robot: Robot) -> None:
    wanted = {"rgb": PICTURE, "min_frames": 1000, "want_3d": True}
    result = robot.find("mug handle", depth=depth_at(SURE, UNSURE), seconds=2, **wanted)
    assert result.status == FindParts.Result.NOT_FOUND
    assert "not in enough frames" in result.message and len(result.parts_3d.parts) == 2


def test_what_cannot_be_chosen_without_depth_is_not_called_absent(robot: Robot) -> None:
    for depth in (None, depth_at()):
        result = robot.find("nearest mug handle", rgb=PICTURE, depth=depth, seconds=2)
        assert result.status == FindParts.Result.NO_DEPTH, result.message
        assert "without depth: nearest mug handle" in result.message
    result = robot.find("nearest mug handle", rgb=PICTURE, depth=depth_at(SURE))
    assert result.status == FindParts.Result.OK and len(result.masks.parts) == 1


@pytest.mark.parametrize(
    ("seconds", "goal", "words"),
    [
        (-1, {}, "timeout of -1 s"),
        (5, {"min_margin": float("nan")}, "min_margin of nan"),
        (5, {"min_margin": 2.0}, "min_margin of 2"),
        (5, {"min_margin": -0.5}, "min_margin of -0.5"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(
    robot: Robot, seconds: int, goal: dict[str, float], words: str
) -> None:
    result = robot.find("mug handle", rgb=PICTURE, seconds=seconds, **goal)
    assert result.status == FindParts.Result.BAD_QUERY and words in result.message, result.message


def test_an_image_that_was_taken_before_the_goal_does_not_answer_it(robot: Robot) -> None:
    asked = nanoseconds(robot.header().stamp)
    _, future = robot.begin("mug handle", seconds=15)

    def ended() -> bool:
        robot.images.publish(message_encoder.image(PICTURE, robot.header(-1.5)))
        robot.rest(0.1)
        return future.done()

    robot.spin_until(ended)
    result = future.result().result
    assert result.status == FindParts.Result.OK, result.message
    assert nanoseconds(result.masks.header.stamp) >= asked


def test_the_limit_of_parts_of_an_image_is_named_where_it_may_be_the_reason(robot: Robot) -> None:
    set_max_parts(robot, 1)
    try:
        assert robot.ask("mug handle").success
        result = robot.find("nearest mug handle", rgb=PICTURE, depth=depth_at(SURE), seconds=2)
    finally:
        set_max_parts(robot, 20)
    assert result.status == FindParts.Result.NOT_FOUND
    assert "among the 1 best parts" in result.message and "max_parts" in result.message


def test_a_goal_does_not_change_the_ids_of_parts_that_others_look_for(robot: Robot) -> None:
    assert robot.ask("mug handle").success

    def ids() -> dict[int, int]:
        answer = robot.answer_to(PICTURE, "mug handle")
        return {part.roi.x_offset: part.track_id for part in answer.parts}

    before = ids()
    assert len(set(before.values())) == 2
    result = robot.find(
        PartQueryMessage(text="mug handle", threshold=0.3), rgb=PICTURE, min_frames=3
    )
    assert result.status == FindParts.Result.OK, result.message
    assert {part.roi.x_offset: part.track_id for part in result.masks.parts} == before
    assert ids() == before


def set_max_parts(robot: Robot, count: int) -> None:
    client = robot.node.create_client(SetParameters, "/ovps/set_parameters")
    value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=count)
    request = SetParameters.Request(parameters=[Parameter(name="max_parts", value=value)])
    assert robot.call(client, request).results[0].successful


def test_a_parameter_that_no_file_system_takes_is_refused(robot: Robot) -> None:
    client = robot.node.create_client(SetParameters, "/ovps/set_parameters")
    for name in ("m" * 300, "recorded:" + "m" * 300, "a\0b"):
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=name)
        request = SetParameters.Request(parameters=[Parameter(name="model", value=value)])
        (answer,) = robot.call(client, request).results
        assert not answer.successful and answer.reason
    assert robot.ask("mug handle").success and robot.answer(PICTURE)


def test_without_use_depth_a_goal_in_space_ends_at_once(recording: Path) -> None:
    with NodeProcesses() as programs:
        parameters = {"model": f"recorded:{recording}", "max_age": 5.0}
        programs.start("ovps_ros.node", parameters, ["-r", "__ns:=/flat"])
        robot = Robot("flat_robot")

        def ended() -> FindParts.Result | None:
            answer = robot.find("mug handle", node="/flat/ovps", seconds=0, want_3d=True)
            return None if answer.status == FindParts.Result.NOT_ACTIVE else answer

        answer = robot.spin_until(ended, NODE_STARTS)
        assert answer.status == FindParts.Result.NO_DEPTH and "use_depth" in answer.message
        robot.close()
