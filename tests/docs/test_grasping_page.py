"""The code in docs/grasping.md, run on the node's own messages."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.paths import ROOT

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from core.pipeline.test_pose import CAMERA, as_part
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
