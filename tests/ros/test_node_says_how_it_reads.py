"""The node treats unknown words alike at start and later, and every answer says how the words were read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.paths import ROOT
from helpers.robot import NODE_STARTS, Robot
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from ovps_ros.action import FindParts
from ovps_ros.msg import PartMasks, PartQuery
from ovps_ros.srv import SetQueries
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from ovps_core.ros_io.codec import masks_value
from ovps_core.structures.query import ReadAs
from ovps_ros.tools.processes import NodeProcesses

pytestmark = pytest.mark.ros
PICTURE = np.ascontiguousarray(cv2.imread(str(ROOT / "docs/images/table.jpg"))[..., ::-1])
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Tiny:
    """A robot beside a node of a name of its own, with the packaged model."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.robot = Robot(f"{name}_robot")
        node = self.robot.node
        self.query = node.create_publisher(String, f"/{name}/query", 10)
        self.active = self.robot.listen(String, f"/{name}/queries", LATCHED)
        self.masks = self.robot.listen(PartMasks, f"/{name}/masks")
        self._set_queries = node.create_client(SetQueries, f"/{name}/set_queries")
        self._parameters = node.create_client(SetParameters, f"/{name}/set_parameters")
        self._state = node.create_client(GetState, f"/{name}/get_state")

    def state(self) -> str:
        """Label of the node's lifecycle state."""
        return self.robot.call(self._state, GetState.Request(), NODE_STARTS).current_state.label

    def diagnostic(self, name: str) -> tuple[str, dict[str, str]]:
        """Message and values of a diagnostic."""
        _, message, values = self.robot.faults().get(f"{self.name}: {name}", (b"", "", {}))
        return message, values

    def ask(self, *texts: str) -> SetQueries.Response:
        """Set the queries by service."""
        request = SetQueries.Request(queries=[PartQuery(text=text) for text in texts])
        return self.robot.call(self._set_queries, request, NODE_STARTS)

    def put(self, name: str, value: object) -> object:
        """Set a parameter."""
        message = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[message])
        return self.robot.call(self._parameters, request).results[0]

    def find(self, *texts: str) -> FindParts.Result:
        """Result of the action, while the picture is shown."""
        return self.robot.find(*texts, rgb=PICTURE, node=f"/{self.name}")


@pytest.fixture(scope="module")
def tiny() -> Iterator[Tiny]:
    """A node that was started with a good and an unknown word."""
    parameters = {"queries": ["mug handle", "gearbox"], "backend": "torch", "max_age": 5.0}
    with NodeProcesses() as programs:
        tiny = Tiny("tiny")
        programs.start("ovps_ros.node", parameters, ["-r", "__node:=tiny"])
        tiny.robot.spin_until(lambda: tiny.state() == "active", NODE_STARTS)
        yield tiny
        tiny.robot.close()


def test_an_unknown_word_at_start_leaves_the_others_active(tiny: Tiny) -> None:
    tiny.robot.spin_until(lambda: tiny.active)
    assert tiny.active[0].data == "mug handle"
    tiny.robot.spin_until(lambda: tiny.diagnostic("queries")[0] == "mug handle")
    assert tiny.diagnostic("queries")[1]["refused"] == "gearbox"


def test_every_answer_says_how_the_words_were_read(tiny: Tiny) -> None:
    response = tiny.ask("please find my cup", "hanlde of the knief")
    assert response.success
    cup, handle = response.active
    assert (cup.read_as.object, cup.read_as.part) == ("mug", "")
    assert (list(cup.ignored), list(cup.corrected)) == (["please", "find", "my"], [])
    assert (handle.read_as.object, handle.read_as.part) == ("knife", "handle")
    assert sorted(handle.corrected) == ["hanlde", "knief"]
    tiny.masks.clear()

    def answered() -> bool:
        tiny.robot.show(PICTURE)
        tiny.robot.rest(0.1)
        return any(len(masks.queries) == 2 for masks in tiny.masks)

    tiny.robot.spin_until(answered)
    masks = masks_value(tiny.masks[-1])
    assert masks.queries[0].read_as == ReadAs("mug")
    assert masks.queries[0].ignored == ("please", "find", "my")
    assert {str(part.query.read_as) for part in masks.parts} == {"mug", "knife handle"}
    reading = "please find my cup: mug"
    tiny.robot.spin_until(lambda: reading in tiny.diagnostic("queries")[1].get("read as", ""))


@pytest.mark.parametrize("text", ["gearbox", "red mug", "not the knife", "mug next to the knife"])
def test_words_that_cannot_be_read_are_refused_alike_by_all_interfaces(
    tiny: Tiny, text: str
) -> None:
    assert tiny.ask("knife handle").success
    response = tiny.ask(text)
    assert not response.success and repr(text) in response.message
    assert [query.text for query in response.refused] == [text]
    assert [query.text for query in response.active] == ["knife handle"]
    result = tiny.put("queries", [text])
    assert not result.successful and repr(text) in result.reason
    goal = tiny.find(text)
    assert goal.status == FindParts.Result.BAD_QUERY and repr(text) in goal.message
    assert [query.text for query in goal.refused] == [text] and not goal.queries
    tiny.robot.spin_until(tiny.query.get_subscription_count)
    tiny.query.publish(String(data=text))
    tiny.robot.spin_until(lambda: repr(text) in tiny.diagnostic("query")[0])
    assert tiny.active[-1].data == "knife handle"


def test_known_words_of_a_list_are_active_and_the_others_named(tiny: Tiny) -> None:
    assert tiny.put("queries", ["cup", "gearbox"]).successful
    tiny.robot.spin_until(lambda: "'gearbox'" in tiny.diagnostic("query")[0])
    tiny.robot.spin_until(lambda: tiny.active[-1].data == "cup")
    goal = tiny.find("hilt of the knife", "gearbox")
    assert goal.status == FindParts.Result.OK
    assert [str(ReadAs(q.read_as.object, q.read_as.part)) for q in goal.queries] == ["knife handle"]
    assert [query.text for query in goal.refused] == ["gearbox"]


def test_an_unknown_model_is_refused_when_it_is_set(tiny: Tiny) -> None:
    result = tiny.put("model", "nosuch")
    assert not result.successful and "'nosuch'" in result.reason
    assert tiny.put("model", "ovps-tiny").successful


def test_without_a_model_nothing_is_promised(
    toy_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(toy_weights, tmp_path / "toy.safetensors")
    parameters = {"autostart": False, "backend": "torch", "model": "~/toy.safetensors"}
    empty = ["-p", "queries:=[]", "-p", "cameras:=[]", "-r", "__node:=early"]
    with NodeProcesses() as programs:
        early = Tiny("early")
        programs.start("ovps_ros.node", parameters, empty)
        assert early.state() == "unconfigured"
        response = early.ask("gearbox")
        assert response.success and "not checked" in response.message and not response.active
        assert not early.ask("not the knife").success
        assert early.put("queries", ["gearbox"]).successful
        early.robot.rest(1.0)
        assert not early.active
        change = early.robot.node.create_client(ChangeState, "/early/change_state")
        configure = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        assert early.robot.call(change, configure, NODE_STARTS).success
        early.robot.spin_until(lambda: early.active)
        assert early.active[-1].data == "gearbox"
        early.robot.close()
