"""Two cameras with compressed images share one model; the lifecycle keeps or frees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from action_msgs.msg import GoalStatus
from helpers.robot import NODE_STARTS, Robot
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ovps_ros.action import FindParts
from ovps_ros.msg import PartMasks, PartQuery
from ovps_ros.srv import SetQueries
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage

from ovps_core.ros_io.codec import masks_value
from ovps_core.segmenter import PartSegmenter
from ovps_ros.parameters import Settings
from ovps_ros.tools.processes import NodeProcesses

pytestmark = pytest.mark.ros
PICTURES = np.random.default_rng(0).integers(0, 255, (2, 240, 320, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pair(toy_weights: Path) -> Iterator[Robot]:
    """A robot beside a node with two compressed cameras, not yet configured."""
    with NodeProcesses() as programs:
        parameters = {
            "model": str(toy_weights),
            "cameras": ["left", "right"],
            "image_transport": "compressed",
            "score_threshold": 0.0,
            "mask_threshold": 0.495,
            "max_age": 5.0,
            "autostart": False,
        }
        programs.start("ovps_ros.node", parameters, ["-r", "__node:=pair"])
        robot = Robot("pair_robot")
        yield robot
        robot.close()


def _change(robot: Robot, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    client = robot.node.create_client(ChangeState, "/pair/change_state")
    return robot.call(client, request, patience=NODE_STARTS).success


def test_both_cameras_are_answered_while_the_node_is_active(pair: Robot, toy_weights: Path) -> None:
    ask = pair.node.create_client(SetQueries, "/pair/set_queries")
    request = SetQueries.Request(queries=[PartQuery(text="knife handle")])
    # Unconfigured: the queries are kept until there is a model.
    assert pair.call(ask, request, patience=NODE_STARTS).success
    assert _change(pair, Transition.TRANSITION_CONFIGURE)
    assert pair.find("mug rim", node="/pair").status == FindParts.Result.NOT_ACTIVE
    assert _change(pair, Transition.TRANSITION_ACTIVATE)
    found = _both(pair)
    segmenter = PartSegmenter.from_pretrained(str(toy_weights))
    options = Settings(score_threshold=0.0, mask_threshold=0.495).options
    for name, picture in zip(("left", "right"), PICTURES, strict=True):
        decoded = cv2.imdecode(_jpeg(picture), cv2.IMREAD_COLOR)[..., ::-1]
        expected = segmenter.segment(np.ascontiguousarray(decoded), "knife handle", options)
        masks = masks_value(found[name])
        np.testing.assert_array_equal(masks.label_image(), expected.label_image())
    _, waiting = pair.begin("mug rim", node="/pair")
    assert _change(pair, Transition.TRANSITION_DEACTIVATE)
    pair.spin_until(waiting.done)
    assert waiting.result().status == GoalStatus.STATUS_ABORTED
    assert waiting.result().result.status == FindParts.Result.NOT_ACTIVE
    pair.spin_until(lambda: not pair.node.count_subscribers("/left/image/compressed"))
    assert _change(pair, Transition.TRANSITION_ACTIVATE)
    assert _both(pair)
    assert _change(pair, Transition.TRANSITION_DEACTIVATE)
    assert _change(pair, Transition.TRANSITION_CLEANUP)
    assert not pair.node.count_publishers("/pair/left/masks")


def _both(robot: Robot) -> dict[str, PartMasks]:
    """Show both cameras' pictures until both are answered, each with its own header."""
    names = ("left", "right")
    senders = {
        n: robot.node.create_publisher(
            CompressedImage, f"{n}/image/compressed", qos_profile_sensor_data
        )
        for n in names
    }
    heard = {n: robot.listen(PartMasks, f"/pair/{n}/masks") for n in names}
    robot.spin_until(lambda: all(s.get_subscription_count() for s in senders.values()))

    def answered() -> bool:
        for name, picture in zip(names, PICTURES, strict=True):
            message = CompressedImage(header=robot.header(), format="jpeg")
            message.header.frame_id = name
            message.data.frombytes(_jpeg(picture).tobytes())
            senders[name].publish(message)
        robot.rest(0.2)
        return all(heard.values())

    robot.spin_until(answered)
    assert {name: messages[-1].header.frame_id for name, messages in heard.items()} == {
        name: name for name in names
    }
    return {name: messages[-1] for name, messages in heard.items()}


def _jpeg(picture: np.ndarray) -> np.ndarray:
    return cv2.imencode(".jpg", picture[..., ::-1])[1]
