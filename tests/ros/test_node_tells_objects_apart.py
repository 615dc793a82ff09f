"""The node with objects, over DDS: five handles of three knives and two mugs, and ids that last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")
pytest.importorskip("mujoco", reason="rendered scenes need the extra render")

from action_msgs.msg import GoalStatus
from helpers.robot import NODE_STARTS, Robot
from ovps_ros.action import FindParts
from ovps_ros.msg import PartMasks as PartMasksMsg
from ovps_ros.msg import Parts3D
from sensor_msgs.msg import CameraInfo

from ovps_core.pipeline.objects import objects_from_boxes
from ovps_core.ros_io.codec import masks_value
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.masks import ObjectMask, PartMask, PartMasks, mask_iou
from ovps_core.synthetic.live import Frame, LiveScene
from ovps_ros.messages import message_encoder
from ovps_ros.tools.processes import NodeProcesses

pytestmark = [
    pytest.mark.ros,
    pytest.mark.slow,
    pytest.mark.usefixtures("own_ros_domain"),
    pytest.mark.timeout(1200),  # a busy machine takes long
]
OBJECTS = [*("knife",) * 3, *("mug",) * 2]
SPACING = 0.03  # metres
RATE = 4  # frames per second of the sequence
PATIENCE = 60.0


class DetectorRobot(Robot):
    """A robot with a detector: it sends the boxes of objects with every image."""

    def __init__(self) -> None:
        super().__init__("detector_robot")
        self.objects = self.node.create_publisher(PartMasksMsg, "objects", 10)
        self.places = self.listen(Parts3D, "/ovps/parts_3d")

    def see(
        self, frame: Frame, objects: tuple[ObjectMask, ...], rgb: np.ndarray | None = None
    ) -> PartMasks:
        """Show one frame with its objects until it is answered; returns the answer."""
        header = self.header()
        height, width = frame.rgb.shape[:2]
        known = PartMasks(height, width, (), (), "detector", objects=objects)
        info = CameraInfo(header=header, width=width, height=height)
        info.k = frame.intrinsics.ravel().tolist()
        self.masks.clear()
        self.infos.publish(info)
        self.depths.publish(message_encoder.image(frame.depth, header))
        self.objects.publish(message_encoder.masks(known, header))
        self.images.publish(message_encoder.image(frame.rgb if rgb is None else rgb, header))
        self.spin_until(lambda: any(m.header == header for m in self.masks), PATIENCE)
        return masks_value(next(m for m in self.masks if m.header == header))


@pytest.fixture(scope="module")
def robot() -> Iterator[DetectorRobot]:
    """A robot with a detector, beside a node with the packaged model that takes its objects."""
    settings = {
        "object_model": "topic",
        "use_depth": True,
        "max_age": 0.0,
        "sync_slop": 0.001,
        "backend": "torch",
    }

    with NodeProcesses() as programs:
        programs.start(
            "ovps_ros.node", {**settings, "object_timeout": 2.0, "image_geometry": "rectified"}
        )
        robot = DetectorRobot()
        robot.spin_until(lambda: robot.images.get_subscription_count(), NODE_STARTS)
        robot.spin_until(lambda: robot.objects.get_subscription_count())
        yield robot
        robot.close()


@pytest.fixture(scope="module")
def scene() -> Iterator[LiveScene]:
    """Three knives and two mugs before a camera that circles them."""
    scene = LiveScene(OBJECTS, seed=9, spacing=SPACING)
    yield scene
    scene.close()


def boxes(frame: Frame, without: int | None = None) -> tuple[ObjectMask, ...]:
    """True boxes of the objects in view; the id is the object's number in the scene, from 1."""
    found = []
    for number, shown in enumerate(frame.objects):
        if number == without or not shown.mask.any():
            continue
        rows, columns = (np.flatnonzero(shown.mask.any(axis)) for axis in (1, 0))
        corners = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        (one,) = objects_from_boxes([(shown.name, corners)], *shown.mask.shape)
        found.append(replace(one, id=number + 1))
    return tuple(found)


def handle_of(number: int, frame: Frame, answer: PartMasks) -> PartMask | None:
    """The part of an object that covers its true handle best; None if none has an IoU of 0.5."""
    truth = frame.objects[number - 1].parts["handle"]
    own = [part for part in answer.parts if part.object_id == number]
    ious = [mask_iou(part.full(*truth.shape), truth) for part in own]
    return own[int(np.argmax(ious))] if max(ious, default=0.0) >= 0.5 else None


def test_handles_belong_to_the_right_knives_and_mugs(
    robot: DetectorRobot, scene: LiveScene
) -> None:
    queries = ["handle of each knife", "mug handle"]
    robot.ask(*queries)
    frame = scene.frame(0.0)
    answer = robot.see(frame, boxes(frame))
    assert [found.name for found in sorted(answer.objects, key=lambda one: one.id)] == OBJECTS
    for number, shown in enumerate(frame.objects, start=1):
        own = [part for part in answer.parts if part.object_id == number]
        assert own and {part.query.object for part in own} <= {shown.name}
    # one of the five is outlined badly, in the library too; tests/core/test_objects_on_rendered_scenes.py has the
    # recall over many scenes
    assert sum(handle_of(number, frame, answer) is not None for number in range(1, 6)) >= 4
    segmenter = PartSegmenter.from_pretrained(backend="torch", objects="own")
    same = segmenter.segment(frame.rgb, queries, objects=boxes(frame))
    assert len(same.parts) == len(answer.parts)
    for part, other in zip(answer.parts, same.parts, strict=True):
        assert (part.query.text, part.object_id) == (other.query.text, other.object_id)
        size = answer.height, answer.width
        assert mask_iou(part.full(*size), other.full(*size)) > 0.98
    (places,) = robot.spin_until(
        lambda: [m for m in robot.places if m.header.stamp == robot.masks[-1].header.stamp]
    )
    assert {part.object_id for part in places.parts} == {part.object_id for part in answer.parts}


def test_left_and_nearest_choose_one_object(robot: DetectorRobot, scene: LiveScene) -> None:
    frame = scene.frame(0.0)
    mugs = [(i, one.mask) for i, one in enumerate(frame.objects, 1) if one.name == "mug"]
    response = robot.ask("left mug's handle", "nearest mug handle", "all parts of the right mug")
    assert response.success
    assert [(q.object, q.part, q.which) for q in response.active] == [
        ("mug", "handle", "left"),
        ("mug", "handle", "nearest"),
        *(("mug", part, "right") for part in ("handle", "rim", "body")),
    ]
    answer = robot.see(frame, boxes(frame))
    by_place = sorted(mugs, key=lambda mug: np.flatnonzero(mug[1].any(0)).mean())
    by_depth = sorted(mugs, key=lambda mug: np.median(frame.depth[mug[1]]))

    def owners(text: str) -> set[int]:
        return {part.object_id for part in answer.of(text)}

    assert owners("left mug's handle") == {by_place[0][0]}
    assert owners("nearest mug handle") == {by_depth[0][0]}
    assert owners("all parts of the right mug") == {by_place[-1][0]}
    assert len({part.query.part for part in answer.of("all parts of the right mug")}) > 1


def test_ids_last_ten_seconds_with_one_object_hidden_for_one(
    robot: DetectorRobot, scene: LiveScene
) -> None:
    robot.ask("knife handle", "mug handle")
    objects: dict[int, set[int]] = {}
    handles: dict[int, set[int]] = {}
    start = robot.node.get_clock().now().nanoseconds
    original = robot.header
    for step in range(10 * RATE):
        stamp = start + round(step / RATE * 1e9)

        def header(offset: float = 0.0, stamp: int = stamp) -> object:
            made = original()
            made.stamp.sec, made.stamp.nanosec = divmod(stamp, 1_000_000_000)
            return made

        robot.header = header  # type: ignore[method-assign,assignment]
        frame = scene.frame(step / RATE)
        hidden = 3 if 4 * RATE <= step < 5 * RATE else None
        rgb = frame.rgb.copy()
        if hidden is not None:
            rows, columns = (np.flatnonzero(frame.objects[hidden].mask.any(a)) for a in (1, 0))
            rgb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 128  # a card before it
        answer = robot.see(frame, boxes(frame, without=hidden), rgb)
        for one in answer.objects:
            objects.setdefault(one.id, set()).add(one.track_id)
        for number in (one.id for one in answer.objects):
            part = handle_of(number, frame, answer)
            if part is not None:
                handles.setdefault(number, set()).add(part.track_id)
    robot.header = original  # type: ignore[method-assign]
    assert {number: len(ids) for number, ids in objects.items()} == dict.fromkeys(range(1, 6), 1)
    assert len(set.union(*objects.values())) == 5
    assert {number: len(ids) for number, ids in handles.items()} == dict.fromkeys(range(1, 6), 1)
    assert len(set.union(*handles.values())) == 5


def test_a_goal_that_wants_a_margin_says_when_it_is_not_sure(
    robot: DetectorRobot, scene: LiveScene
) -> None:
    robot.ask("mug handle")  # frames are answered before the goal is read
    _, done = robot.begin("mug handle", seconds=8, min_margin=0.999)
    frame = scene.frame(0.0)
    for _ in range(3):
        robot.see(frame, boxes(frame))
    result = robot.spin_until(lambda: done.done() and done.result(), PATIENCE)
    assert result.status == GoalStatus.STATUS_ABORTED
    assert result.result.status == FindParts.Result.NOT_SURE
    assert "mug handle" in result.result.message and result.result.masks.parts


def test_without_the_detectors_objects_the_fault_is_named(
    robot: DetectorRobot, scene: LiveScene
) -> None:
    robot.ask("mug handle")
    rgb = scene.frame(0.0).rgb
    for _ in range(2):
        robot.show(rgb)
        robot.rest(0.5)
    values = robot.fault("objects", "message with objects is")
    assert "object_timeout" in values["hint"]
