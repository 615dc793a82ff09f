"""Poses are of depth and camera_info of the same image, and nothing of before a pause is used."""

from __future__ import annotations

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
from ovps_ros.msg import Parts3D
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from ovps_core.language.parser import parse_query
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery
from ovps_ros.depth_stage import DepthStage
from ovps_ros.depth_sync import DepthBuffer
from ovps_ros.diagnostics import FaultReporter
from ovps_ros.latest_frames import Frame
from ovps_ros.messages import message_encoder
from ovps_ros.parameters import Settings
from ovps_ros.tools.processes import NodeProcesses
from ovps_ros.tools.record import Recorder
from ovps_ros.transforms import TransformError

PICTURE = np.zeros((48, 64, 3), np.uint8)
HANDLE = parse_query("mug handle")
NEAREST = PartQuery("nearest mug handle", "mug", "handle", which="nearest")
LEFT, RIGHT = Box(4, 10, 20, 12), Box(38, 30, 20, 12)
MASK = np.ones((12, 20), bool)


def info_of(header: Header, focal_length: float = 60.0) -> CameraInfo:
    info = CameraInfo(header=header, width=64, height=48)
    info.k = [focal_length, 0.0, 32.0, 0.0, focal_length, 24.0, 0.0, 0.0, 1.0]
    return info


@pytest.fixture(scope="module")
def robot(
    tmp_path_factory: pytest.TempPathFactory, own_ros_domain: None
) -> Iterator[tuple[Robot, list[Parts3D]]]:
    """A robot beside a node that accepts every stamp."""
    folder: Path = tmp_path_factory.mktemp("recording") / "masks"
    masks = PartMasks(48, 64, (HANDLE,), (PartMask(1, HANDLE, 0.9, LEFT, MASK),), "model")
    with Recorder(folder) as recorder:
        message = message_encoder.masks(masks, message_encoder.header(1, "camera"))
        recorder.write("/ovps/masks", message, 1)
    parameters = {"model": f"recorded:{folder}", "queries": ["mug handle"], "max_age": 0.0}
    with NodeProcesses() as programs:
        programs.start("ovps_ros.node", {**parameters, "use_depth": True, "sync_slop": 0.3})
        robot = Robot("now")
        places = robot.listen(Parts3D, "/ovps/parts_3d")
        robot.spin_until(lambda: robot.images.get_subscription_count(), NODE_STARTS)
        yield robot, places
        robot.close()


@pytest.mark.ros
def test_without_stamps_the_pose_has_the_depth_of_now(robot: tuple[Robot, list[Parts3D]]) -> None:
    watcher, places = robot
    header = Header(frame_id="camera")
    for millimetres in range(500, 1500, 200):
        watcher.rest(0.7)  # longer than sync_slop
        depth = message_encoder.image(np.full((48, 64), millimetres, np.uint16), header)

        def measured(depth: object = depth) -> bool:
            places.clear()
            watcher.infos.publish(info_of(header))
            watcher.depths.publish(depth)
            watcher.images.publish(message_encoder.image(PICTURE, header))
            watcher.rest(0.4)
            return bool(places and places[-1].parts)

        watcher.spin_until(measured)
        for place in places:
            assert place.parts[0].pose.position.z == pytest.approx(millimetres / 1000, abs=0.02)


def change(robot: Robot, transition: int) -> None:
    client = robot.node.create_client(ChangeState, "/ovps/change_state")
    request = ChangeState.Request(transition=Transition(id=transition))
    assert robot.call(client, request, NODE_STARTS).success


@pytest.mark.ros
def test_nothing_of_before_deactivate_is_used_after_activate(
    robot: tuple[Robot, list[Parts3D]],
) -> None:
    watcher, places = robot
    flat = np.full((48, 64), 800, np.uint16)
    places.clear()
    before = watcher.answer(PICTURE, flat).parts[0].track_id
    assert watcher.answer(PICTURE, flat).parts[0].track_id == before
    watcher.spin_until(lambda: places)
    change(watcher, Transition.TRANSITION_DEACTIVATE)
    change(watcher, Transition.TRANSITION_ACTIVATE)
    watcher.spin_until(lambda: watcher.images.get_subscription_count())
    places.clear()

    def said() -> bool:
        header = watcher.header()
        watcher.depths.publish(message_encoder.image(flat, header))
        watcher.images.publish(message_encoder.image(PICTURE, header))
        watcher.rest(0.1)
        return "no camera_info has arrived" in str(watcher.faults().get("ovps: camera_info"))

    watcher.spin_until(said)
    assert not places
    assert watcher.answer(PICTURE, flat).parts[0].track_id > before


def frame_of(buffer: DepthBuffer, *, measured: bool = True) -> Frame:
    """An image whose left part is nearer than its right one; depth and camera_info are in the buffer."""
    header = message_encoder.header(10**9, "camera")
    depth = np.where(np.arange(64) < 32, 1000, 1500) * np.ones((48, 1)) * measured
    frame = Frame("", message_encoder.image(PICTURE, header))
    buffer.put(message_encoder.image(depth.astype(np.uint16), header))
    buffer.infos.put(info_of(header))
    buffer.reserve(10**9, frame.arrived_at)
    return frame


class NoTransform:
    """A target frame that TF does not know."""

    def transform(self, *_: object) -> None:
        raise TransformError("camera to base_link: unknown")


@pytest.mark.parametrize("measured", [True, False])
def test_the_nearest_is_chosen_by_depth_alone(measured: bool) -> None:
    """TF is needed for the pose only."""
    lines: list[str] = []
    transforms = SimpleNamespace(find=lambda *_: None)
    faults = FaultReporter(lambda _, line: lines.append(line))
    stage = DepthStage(faults, transforms, NoTransform())
    buffer = DepthBuffer()
    camera = SimpleNamespace(depth=buffer, name="left", image_topic="/image", depth_topic="/depth")
    parts = tuple(PartMask(i, NEAREST, 0.9, b, MASK) for i, b in ((1, RIGHT), (2, LEFT)))
    masks = PartMasks(48, 64, (NEAREST,), parts, "model")
    result = stage.add(camera, frame_of(buffer, measured=measured), masks, Settings())
    assert result.in_3d is None and "transform left: camera to base_link" in lines[-1]
    assert [part.box for part in result.masks.parts] == ([LEFT] if measured else [])
    assert result.undecided == (() if measured else (NEAREST,))
