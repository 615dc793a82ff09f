"""The code in docs/grasping.md, run on the node's own messages."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.paths import ROOT

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from core.pipeline.test_pose import CAMERA, as_part
from geometry_msgs.msg import Point, Pose, PoseArray
from helpers.robot import Robot
from ovps_ros.msg import ObjectMask, Part3D, PartQuery, Parts3D
from ovps_ros.msg import PartMasks as PartMasksMessage
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from ovps_core.pipeline.pose import parts_3d
from ovps_core.structures.masks import PartMasks
from ovps_ros.messages import message_encoder
from ovps_ros.publishers import cloud_message

PAGE = ROOT / "docs" / "grasping.md"


@pytest.fixture(scope="module")
def page() -> SimpleNamespace:
    """The functions that the page shows."""
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
        exec(compile(block, str(PAGE), "exec"), names)
    return SimpleNamespace(**names)


@pytest.fixture(scope="module")
def scene() -> SimpleNamespace:
    """A bar before a wall, seen with holes in the depth, as the node would send it."""
    mask = np.zeros((CAMERA.height, CAMERA.width), bool)
    mask[200:220, 100:300] = True
    depth = np.where(mask, 0.6, 0.8).astype(np.float32)
    depth[::9] = np.nan
    part = as_part(mask, part_id=2)
    masks = PartMasks(CAMERA.height, CAMERA.width, (part.query,), (part,), "none")
    rgb = np.random.default_rng(0).integers(0, 255, (*mask.shape, 3), dtype=np.uint8)
    header, labels = Header(frame_id="optical"), masks.label_image()
    space = message_encoder.parts_3d(parts_3d(masks, depth, CAMERA), header, *mask.shape)
    return SimpleNamespace(
        mask=mask,
        depth=depth,
        rgb=rgb,
        info=CameraInfo(k=CAMERA.matrix.ravel()),
        labels=message_encoder.image(labels, header),
        points=cloud_message(CAMERA.cloud(depth), rgb, labels, header),
        part=space.parts[0],
        parts_3d=space,
    )


def test_messages_become_arrays_of_labels_points_and_masks(
    page: SimpleNamespace, scene: SimpleNamespace
) -> None:
    np.testing.assert_array_equal(page.pixels(scene.labels), np.where(scene.mask, 2, 0))
    np.testing.assert_array_equal(page.cloud(scene.points), CAMERA.cloud(scene.depth))
    np.testing.assert_array_equal(page.mono8(scene.labels, 2), np.where(scene.mask, 255, 0))


def test_the_file_for_contact_graspnet_holds_the_scene(
    page: SimpleNamespace, scene: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "scene.npz"
    page.contact_graspnet_file(path, scene.points, scene.info, scene.labels, scene.rgb)
    file = np.load(path)
    np.testing.assert_array_equal(file["depth"], np.nan_to_num(scene.depth))
    np.testing.assert_array_equal(file["K"], CAMERA.matrix)
    assert file["segmap"].shape == file["depth"].shape and set(np.unique(file["segmap"])) == {0, 2}
    np.testing.assert_array_equal(file["rgb"][..., ::-1], scene.rgb)


def test_the_region_for_anygrasp_is_the_measured_part(
    page: SimpleNamespace, scene: SimpleNamespace
) -> None:
    points, region = page.anygrasp_input(scene.points, scene.part)
    assert points.shape == (len(region), 3) and np.isfinite(points).all()
    assert len(points) == np.count_nonzero(np.isfinite(scene.depth))
    np.testing.assert_allclose(points[region][:, 2], 0.6, rtol=1e-6)
    assert np.count_nonzero(region) == np.count_nonzero(scene.mask & np.isfinite(scene.depth))


@pytest.fixture
def provide(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Function that makes the messages of a package importable: by name those of its fields that are used."""

    def provide(package: str, **messages: tuple[str, ...]) -> None:
        if importlib.util.find_spec(package) is not None:
            return
        module = ModuleType(f"{package}.msg")
        for name, fields in messages.items():
            setattr(module, name, type(name, (_Message,), {"__slots__": fields}))
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return provide


class _Message:
    """Stand-in for a generated message: it takes the fields of its type only."""

    __slots__ = ()
    ADD = b"\0"

    def __init__(self, **values: object) -> None:
        for field, value in values.items():
            setattr(self, field, value)


def test_every_function_of_the_page_is_called_here(page: SimpleNamespace) -> None:
    shown = {name for name, value in vars(page).items() if isinstance(value, FunctionType)}
    called = set(re.findall(r"page\.(\w+)\(", Path(__file__).read_text()))
    assert shown - called <= {"camera_matrix"}  # contact_graspnet_file calls it


def test_the_best_handle_of_each_object_is_kept(page: SimpleNamespace) -> None:
    def part(object_id: int, score: float, name: str = "handle") -> Part3D:
        return Part3D(object_id=object_id, score=score, query=PartQuery(part=name))

    objects = [ObjectMask(id=1, name="mug", track_id=7), ObjectMask(id=2, name="mug", track_id=9)]
    parts = [part(1, 0.95), part(2, 0.9, "rim"), part(1, 0.85), part(2, 0.8), part(0, 0.7)]
    best = page.handles_by_object(PartMasksMessage(objects=objects), Parts3D(parts=parts))
    assert {key: round(kept.score, 2) for key, kept in best.items()} == {
        ("mug", 7): 0.95,
        ("mug", 9): 0.8,
    }


@pytest.mark.ros
@pytest.mark.usefixtures("own_ros_domain")
def test_the_best_pose_of_an_array_is_followed(page: SimpleNamespace) -> None:
    robot, seen = Robot("follower"), []
    subscription = page.follow_best(robot.node, seen.append, "poses/mug_handle")
    poses = robot.node.create_publisher(PoseArray, "poses/mug_handle", 5)
    robot.spin_until(poses.get_subscription_count)
    header = robot.header()
    places = [Pose(position=Point(x=x)) for x in (0.1, 0.2)]
    poses.publish(PoseArray(header=header))  # an image without the part
    poses.publish(PoseArray(header=header, poses=places))
    robot.spin_until(lambda: seen)
    assert [(one.header, one.pose) for one in seen] == [(header, places[0])]
    robot.node.destroy_subscription(subscription)
    robot.close()


def test_gpd_samples_lie_on_the_part(
    page: SimpleNamespace, scene: SimpleNamespace, provide: Callable[..., None]
) -> None:
    provide(
        "gpd_ros",
        CloudSources=("cloud", "camera_source", "view_points"),
        CloudSamples=("cloud_sources", "samples"),
    )
    message = page.gpd_samples(scene.points, scene.part, max_samples=50)
    sources: Any = message.cloud_sources
    assert sources.cloud == scene.points and len(sources.view_points) == 1
    assert len(sources.camera_source) == scene.mask.size
    assert 50 <= len(message.samples) < 100
    assert {round(sample.z, 3) for sample in message.samples} == {0.6}


def test_the_collision_object_is_a_box_with_a_subframe_on_the_part(
    page: SimpleNamespace, scene: SimpleNamespace, provide: Callable[..., None]
) -> None:
    pytest.importorskip("shape_msgs")
    fields = ("primitives", "primitive_poses", "subframe_names", "subframe_poses")
    provide("moveit_msgs", CollisionObject=("header", "pose", "id", "operation", *fields))
    thing = page.collision_object(scene.parts_3d, scene.part)
    assert (thing.header, thing.pose) == (scene.parts_3d.header, scene.part.pose)
    assert (thing.id, thing.subframe_names) == ("knife", ["handle"])
    (box,) = thing.primitives
    size = scene.part.size
    assert list(box.dimensions) == [max(side, 0.005) for side in (size.x, size.y, size.z)]
    assert thing.primitive_poses == thing.subframe_poses == [Pose()]
