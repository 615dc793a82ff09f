"""Transitions that are not possible are answered, and every cycle gives its topics back."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.robot import NODE_STARTS, Robot
from lifecycle_msgs.msg import State, Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetState
from ovps_ros.msg import Parts3D
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo

from ovps_ros.messages import message_encoder
from ovps_ros.tools.processes import NodeProcesses

pytestmark = pytest.mark.ros
STAND_INS = Path(__file__).parents[1] / "helpers" / "stand_ins"
PICTURE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
FLAT = np.full((240, 320), 0.8, np.float32)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def cycler(toy_weights: Path) -> Iterator[Robot]:
    """A robot beside a node with depth and TF, not yet configured."""
    with pytest.MonkeyPatch.context() as patch, NodeProcesses() as programs:
        if importlib.util.find_spec("tf2_ros") is None:
            search = [str(STAND_INS), os.environ.get("PYTHONPATH", "")]
            patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, search)))
        parameters = {
            "model": str(toy_weights),
            "queries": ["knife handle"],
            "use_depth": True,
            "target_frame": "base_link",
            "publish_tf": True,
            "score_threshold": 0.0,
            "mask_threshold": 0.495,
            "min_depth_coverage": 0.05,
            "max_age": 5.0,
            "autostart": False,
        }
        # Another node of this test run must not hear the depth camera's camera_info: it would keep it.
        remaps = ["-r", "__node:=cycler", "-r", "depth_camera_info:=cycler_depth_camera_info"]
        programs.start("ovps_ros.node", parameters, remaps)
        robot = Robot("cycler_robot")
        client = robot.node.create_client(ChangeState, "/cycler/change_state")
        assert client.wait_for_service(NODE_STARTS)
        yield robot
        robot.close()


def change(robot: Robot, transition: int, label: str = "") -> bool:
    request = ChangeState.Request(transition=Transition(id=transition, label=label))
    client = robot.node.create_client(ChangeState, "/cycler/change_state")
    try:
        return robot.call(client, request, patience=NODE_STARTS).success
    finally:
        robot.node.destroy_client(client)


def state(robot: Robot) -> int:
    client = robot.node.create_client(GetState, "/cycler/get_state")
    return robot.call(client, GetState.Request()).current_state.id


def endpoints(robot: Robot) -> Counter[str]:
    """Publishers and subscriptions of the node, by topic."""
    found: Counter[str] = Counter()
    for topic, _ in robot.node.get_topic_names_and_types():
        for kind in ("publishers", "subscriptions"):
            infos = getattr(robot.node, f"get_{kind}_info_by_topic")(topic)
            found[f"{kind} of {topic}"] += sum(info.node_name == "cycler" for info in infos)
    return +found


def test_impossible_transitions_are_answered_and_the_node_lives_on(cycler: Robot) -> None:
    assert not change(cycler, 99)
    assert not change(cycler, Transition.TRANSITION_ACTIVATE)
    assert state(cycler) == State.PRIMARY_STATE_UNCONFIGURED
    assert change(cycler, Transition.TRANSITION_CONFIGURE)
    events = cycler.listen(TransitionEvent, "/cycler/transition_event")
    assert change(cycler, Transition.TRANSITION_ACTIVATE)
    # bag.launch.py waits for this event
    cycler.spin_until(lambda: any(event.goal_state.label == "active" for event in events))
    impossible = (Transition.TRANSITION_CONFIGURE, 97, 98, 99, 255, Transition.TRANSITION_CREATE)
    for transition in (*impossible, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN):
        assert not change(cycler, transition)
        assert state(cycler) == State.PRIMARY_STATE_ACTIVE
    for label in ("cleanup", "no such label"):
        assert not change(cycler, Transition.TRANSITION_DEACTIVATE, label), "the label counts"
        assert state(cycler) == State.PRIMARY_STATE_ACTIVE
    assert change(cycler, Transition.TRANSITION_DEACTIVATE)
    assert change(cycler, Transition.TRANSITION_CLEANUP)


def test_cycles_and_failed_configures_give_their_topics_back(cycler: Robot, tmp_path: Path) -> None:
    before = endpoints(cycler)
    for _ in range(3):
        assert change(cycler, Transition.TRANSITION_CONFIGURE)
        assert change(cycler, Transition.TRANSITION_ACTIVATE)
        cycler.spin_until(lambda: endpoints(cycler)["publishers of /tf"] == 1)
        active = endpoints(cycler)
        assert active["subscriptions of /tf"] == active["subscriptions of /tf_static"] == 1
        assert change(cycler, Transition.TRANSITION_DEACTIVATE)
        assert change(cycler, Transition.TRANSITION_CLEANUP)
        cycler.spin_until(lambda: endpoints(cycler) == before)
    ask = cycler.node.create_client(SetParameters, "/cycler/set_parameters")
    model = _get_model(cycler)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no weights")
    _set_model(cycler, ask, str(damaged))
    for _ in range(3):
        assert not change(cycler, Transition.TRANSITION_CONFIGURE)
        cycler.spin_until(lambda: endpoints(cycler) == before)
    _set_model(cycler, ask, model)


def test_a_camera_info_sent_once_and_latched_is_used(cycler: Robot) -> None:
    """It was sent before the node was there, as drivers with transient local durability do."""
    cycler.node.destroy_publisher(cycler.infos)
    cycler.infos = cycler.node.create_publisher(CameraInfo, "camera_info", LATCHED)
    info = CameraInfo(header=cycler.header(), width=320, height=240)
    info.k = [600.0, 0.0, 160.0, 0.0, 600.0, 120.0, 0.0, 0.0, 1.0]
    cycler.infos.publish(info)
    assert change(cycler, Transition.TRANSITION_CONFIGURE)
    assert change(cycler, Transition.TRANSITION_ACTIVATE)
    spaces = cycler.listen(Parts3D, "/cycler/parts_3d")

    def answered() -> bool:
        header = cycler.header()
        cycler.depths.publish(message_encoder.image(FLAT, header))
        cycler.images.publish(message_encoder.image(PICTURE, header))
        cycler.rest(0.2)
        return bool(spaces)

    cycler.spin_until(answered)
    assert spaces[-1].parts and spaces[-1].header.frame_id == "base_link"


def test_depth_of_another_camera_is_registered(cycler: Robot) -> None:
    """The stand-in for TF puts both cameras in one place; depth has half the size of colour."""
    spaces = cycler.listen(Parts3D, "/cycler/parts_3d")
    depth_infos = cycler.node.create_publisher(CameraInfo, "cycler_depth_camera_info", 1)
    other = "camera_depth_optical_frame"

    def show() -> None:
        header = cycler.header()
        depth = message_encoder.image(FLAT[::2, ::2].copy(), cycler.header())
        depth.header.stamp, depth.header.frame_id = header.stamp, other
        cycler.depths.publish(depth)
        cycler.images.publish(message_encoder.image(PICTURE, header))
        cycler.rest(0.2)

    def refused() -> bool:
        show()
        return "expected depth aligned" in str(cycler.faults().get("cycler: depth frame"))

    cycler.spin_until(refused)
    spaces.clear()

    def registered() -> bool:
        info = CameraInfo(header=cycler.header(), width=160, height=120)
        info.header.frame_id = other
        info.k = [300.0, 0.0, 79.75, 0.0, 300.0, 59.75, 0.0, 0.0, 1.0]
        depth_infos.publish(info)
        show()
        return any(space.parts for space in spaces)

    cycler.spin_until(registered)
    part = next(space.parts[0] for space in spaces if space.parts)
    assert part.pose.position.z == pytest.approx(0.8, abs=0.01)
    assert part.depth_coverage > 0.9


def _get_model(robot: Robot) -> str:
    from rcl_interfaces.srv import GetParameters

    client = robot.node.create_client(GetParameters, "/cycler/get_parameters")
    answer = robot.call(client, GetParameters.Request(names=["model"]))
    return str(answer.values[0].string_value)


def _set_model(robot: Robot, client: object, model: str) -> None:
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=model)
    request = SetParameters.Request(parameters=[Parameter(name="model", value=value)])
    assert robot.call(client, request).results[0].successful
