"""A fault is shown as long as it is there, and says which camera has it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")
pytest.importorskip("rosbags", reason="pip install 'ovps[bags]'")

from helpers.robot import NODE_STARTS, Robot
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ovps_ros.action import FindParts
from ovps_ros.msg import PartQuery
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ovps_core.errors import DeviceMemoryError
from ovps_core.language.parser import parse_query
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_ros import clock_watch, diagnostics
from ovps_ros.clock_watch import ClockWatch
from ovps_ros.diagnostics import ERROR, OK, WARN, Fault, FaultReporter
from ovps_ros.latest_frames import Frame, LatestFrames
from ovps_ros.messages import message_encoder
from ovps_ros.node import OvpsNode
from ovps_ros.pipeline import Worker
from ovps_ros.tools.processes import NodeProcesses
from ovps_ros.tools.record import Recorder

HANDLE, RIM = parse_query("mug handle"), parse_query("mug rim")
PICTURE = np.zeros((48, 64, 3), np.uint8)
LATER = 6.0  # seconds after which a fault that does not last is OK again


def shown(reporter: FaultReporter) -> dict[str, tuple[bytes, str]]:
    return {one.name: (one.level, one.message) for one in reporter.statuses("ovps", "")}


def test_a_fault_that_lasts_is_shown_until_it_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = FaultReporter(lambda *_: None)
    reporter.report(Fault.QUERY, WARN, "no zorgle", lasts=True)
    reporter.report(Fault.IMAGE, ERROR, "rgb9")
    reporter.report(Fault.QUERY, WARN, "no frobnitz, says a goal")
    assert shown(reporter)["ovps: query"] == (WARN, "no frobnitz, says a goal")
    monkeypatch.setattr(diagnostics, "_SHOWN", 0.0)
    assert shown(reporter)["ovps: query"] == (WARN, "no zorgle")
    assert shown(reporter)["ovps: image"] == (OK, "not seen lately")
    reporter.clear(Fault.QUERY)
    assert "ovps: query" not in shown(reporter)


def test_each_camera_has_its_own_fault_count_and_line() -> None:
    lines: list[str] = []
    reporter = FaultReporter(lambda _, line: lines.append(line))
    for camera in ("left", "right", "right", ""):
        reporter.report(Fault.DEPTH, WARN, "no depth", kind="missing", camera=camera)
    counts = {one.name: one.values[0].value for one in reporter.statuses("ovps", "")}
    assert counts == {"ovps: depth left": "1", "ovps: depth right": "2", "ovps: depth": "1"}
    assert lines == ["depth left: no depth", "depth right: no depth", "depth: no depth"]


def test_a_clock_that_could_not_be_heard_does_not_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the node configures, and after a callback of ten seconds."""
    now = [100.0]
    monkeypatch.setattr(clock_watch.time, "monotonic", lambda: now[0])
    reporter = FaultReporter(lambda *_: None)
    node = SimpleNamespace(
        get_clock=lambda: SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=5)),
        get_parameter=lambda _: SimpleNamespace(value=True),
        count_publishers=lambda _: 1,
    )
    watch = ClockWatch(node, reporter)
    for _ in range(10):
        watch.check(is_busy=True)
        now[0] += 1.0
    watch.check()
    now[0] += 10.0
    watch.check()
    assert not shown(reporter)
    for _ in range(3):
        now[0] += 1.0
        watch.check()
    assert "/clock stands" in shown(reporter)["ovps: clock"][1]


def test_memory_that_ended_the_search_is_shown_until_the_next_activate() -> None:
    gave_up, reporter, frames = threading.Event(), FaultReporter(lambda *_: None), LatestFrames()

    def process(_: object) -> None:
        raise DeviceMemoryError("full")

    worker = Worker(frames, process, reporter, gave_up.set)
    worker.start()
    lasted = []
    for count in (1, 2, 3):
        frames.put(Frame("", Image()))
        while shown_count(reporter) < count:
            time.sleep(0.01)
        lasted.append(reporter.lasting(Fault.MEMORY))
    assert gave_up.wait(20) and lasted == ["", "", "full"]
    worker.stop()


def shown_count(reporter: FaultReporter) -> int:
    return sum(int(one.values[0].value) for one in reporter.statuses("ovps", ""))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of stamp 1 with a handle, and one of stamp 2 that shows nothing."""
    folder = tmp_path_factory.mktemp("recording") / "masks"
    handle = PartMask(1, HANDLE, 0.9, Box(4, 10, 20, 12), np.ones((12, 20), bool))
    with Recorder(folder) as recorder:
        for second, parts in ((1, (handle,)), (2, ())):
            masks = PartMasks(48, 64, (HANDLE, RIM), parts, "model")
            header = message_encoder.header(second * 10**9, "camera")
            recorder.write("/ovps/masks", message_encoder.masks(masks, header), second)
    return folder


def set_parameter(robot: Robot, node: str, name: str, value: str | float) -> None:
    given = ParameterValue(type=ParameterType.PARAMETER_DOUBLE)
    if isinstance(value, str):
        given = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
    else:
        given.double_value = value
    request = SetParameters.Request(parameters=[Parameter(name=name, value=given)])
    client = robot.node.create_client(SetParameters, f"{node}/set_parameters")
    assert robot.call(client, request).results[0].successful


@pytest.mark.ros
@pytest.mark.usefixtures("own_ros_domain")
def test_a_node_that_has_no_model_says_so_until_it_has_one(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "none.safetensors").write_bytes(b"no model")
    parameters = {"model": str(tmp_path / "none.safetensors"), "max_age": 5.0}
    parameters["queries"] = ["mug handle", "zorgle handle"]
    with NodeProcesses() as programs:
        programs.start("ovps_ros.node", parameters, ["-r", "__node:=lasting"])
        robot = Robot("patient")

        def said(name: str, words: str, level: bytes = ERROR) -> bool:
            got = robot.faults().get(f"lasting: {name}", (OK, "", {}))
            return got[0] == level and words in got[1]

        robot.spin_until(lambda: said("configure", "none.safetensors"), NODE_STARTS)
        robot.rest(LATER)
        robot.diagnostics.clear()
        robot.spin_until(lambda: robot.diagnostics)
        assert said("configure", "none.safetensors")
        assert said("model", "configure failed")
        set_parameter(robot, "/lasting", "model", f"recorded:{recording}")
        change = robot.node.create_client(ChangeState, "/lasting/change_state")
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            request = ChangeState.Request(transition=Transition(id=transition))
            assert robot.call(change, request, NODE_STARTS).success
        robot.rest(LATER)
        robot.diagnostics.clear()
        robot.spin_until(lambda: robot.diagnostics)
        assert said("model", "active", OK) and not said("configure", "")
        assert said("query", "zorgle", WARN), "the phrase is still refused"
        end = Transition(id=Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert robot.call(change, ChangeState.Request(transition=end)).success
        robot.spin_until(lambda: said("model", "finalized", WARN))
        robot.close()


@pytest.fixture(scope="module")
def pair(recording: Path, own_ros_domain: None) -> Iterator[Robot]:
    """A robot beside a node with two cameras."""
    with NodeProcesses() as programs:
        parameters = {"model": f"recorded:{recording}", "cameras": ["left", "right"], "min_area": 1}
        programs.start("ovps_ros.node", {**parameters, "max_age": 5.0}, ["-r", "__node:=two"])
        robot = Robot("two_eyes")
        yield robot
        robot.close()


@pytest.mark.ros
def test_a_fault_of_one_camera_names_it(pair: Robot) -> None:
    cameras = {
        name: pair.node.create_publisher(Image, f"{name}/image", qos_profile_sensor_data)
        for name in ("left", "right")
    }
    pair.spin_until(lambda: all(one.get_subscription_count() for one in cameras.values()))
    bad = Header(frame_id="camera")

    def said() -> bool:
        cameras["left"].publish(message_encoder.image(PICTURE, pair.header()))
        cameras["right"].publish(message_encoder.image(PICTURE, bad))
        pair.rest(0.1)
        return "stamp is zero" in pair.faults().get("two: stamp right", (OK, "", {}))[1]

    pair.spin_until(said, NODE_STARTS)
    assert not {"two: stamp", "two: stamp left"} & set(pair.faults())


@pytest.mark.ros
@pytest.mark.parametrize("last", ["left", "right"])
def test_a_goal_tells_what_the_camera_misses_that_sees_the_most(pair: Robot, last: str) -> None:
    set_parameter(pair, "/two", "max_age", 0.0)
    try:
        check_what_the_camera_misses(pair, last)
    finally:
        set_parameter(pair, "/two", "max_age", 5.0)


def check_what_the_camera_misses(pair: Robot, last: str) -> None:
    client = ActionClient(pair.node, FindParts, "/two/find_parts")
    assert client.wait_for_server(NODE_STARTS)
    goal = FindParts.Goal(queries=[PartQuery(text="mug rim"), PartQuery(text="mug handle")])
    goal.timeout.sec = 2
    sent = client.send_goal_async(goal)
    result = pair.spin_until(lambda: sent.done() and sent.result()).get_result_async()
    first = "left" if last == "right" else "right"
    publishers = {
        name: pair.node.create_publisher(Image, f"{name}/image", qos_profile_sensor_data)
        for name in (first, last)
    }
    while not result.done():
        for name, publisher in publishers.items():
            header = message_encoder.header(10**9 if name == "left" else 2 * 10**9, name)
            publisher.publish(message_encoder.image(PICTURE, header))
            pair.rest(0.15)
    answer = result.result().result
    assert answer.message == "not in view: mug rim", answer.message
    assert answer.masks.header.frame_id == "left" and answer.masks.parts
    client.destroy()
    for publisher in publishers.values():
        pair.node.destroy_publisher(publisher)


def test_a_goal_that_no_image_answers_says_why() -> None:
    """Images that do not come, that cannot be used, and a model that is slower than the timeout."""
    started, go_on = threading.Event(), threading.Event()

    def process(_: object) -> None:
        started.set()
        go_on.wait(20)

    frames = LatestFrames()
    worker = Worker(frames, process, FaultReporter(lambda *_: None), lambda: None)
    worker.start()
    camera = SimpleNamespace(received_at=5.0, usable_at=3.0)
    node = SimpleNamespace(_worker=worker, _cameras={"": camera})
    assert "no image arrived" in OvpsNode._explain_no_answer(node, 6.0)
    assert "none could be used" in OvpsNode._explain_no_answer(node, 4.0)
    frames.put(Frame("", Image()))
    assert started.wait(20)
    time.sleep(0.25)
    camera.received_at = camera.usable_at = time.monotonic()
    asked = time.monotonic() - 0.1
    assert "the model takes" in OvpsNode._explain_no_answer(node, asked)
    assert worker.seconds_per_frame >= 0.25
    assert "none was answered" in OvpsNode._explain_no_answer(node, asked - 60)
    go_on.set()
    worker.stop()
    assert 0.25 <= worker.seconds_per_frame < 20
