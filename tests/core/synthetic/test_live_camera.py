"""The simulated camera: true masks, metric depth, true part surfaces while it circles a table."""

from __future__ import annotations

import numpy as np
import pytest

from ovps_core.errors import BackendError, DatasetError

pytest.importorskip("mujoco")
pytest.importorskip("trimesh")


@pytest.fixture(scope="module")
def scene():
    from ovps_core.synthetic.live import LiveScene

    try:
        live = LiveScene(["knife", "mug", "pan"], seed=3, width=320, height=240)
    except BackendError as error:
        pytest.skip(str(error))
    yield live
    live.close()


def test_a_frame_has_picture_depth_and_a_mask_for_each_part(scene) -> None:
    frame = scene.frame(0.5)
    assert frame.rgb.shape == (240, 320, 3) and frame.rgb.dtype == np.uint8
    assert frame.depth.shape == (240, 320) and frame.depth.dtype == np.float32
    assert frame.intrinsics.shape == (3, 3) and frame.camera_pose.shape == (4, 4)
    assert {("knife", "handle"), ("knife", "blade"), ("mug", "rim"), ("pan", "")} <= set(
        frame.masks
    )
    for (name, part), mask in frame.masks.items():
        assert mask.shape == (240, 320) and mask.dtype == bool
        assert not (mask & ~frame.masks[name, ""]).any()
        if part == "":
            assert mask.sum() > 300
    assert 0.2 < frame.depth[frame.masks["mug", ""]].mean() < 1.5


def test_depth_under_a_mask_lies_on_the_true_surface_of_the_part(scene) -> None:
    from scipy.spatial import cKDTree

    for t in (0.0, 7.0):
        frame = scene.frame(t)
        for name, part in (("mug", "body"), ("knife", "handle"), ("pan", "rim")):
            v, u = np.nonzero(frame.masks[name, part])
            z, k = frame.depth[v, u], frame.intrinsics
            ray = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(z)], -1)
            world = (ray * z[:, None]) @ frame.camera_pose[:3, :3].T + frame.camera_pose[:3, 3]
            surface = cKDTree(scene.part_points(name, part, 8000))
            assert np.median(surface.query(world)[0]) < 0.003


def test_the_camera_circles_and_the_same_moment_gives_the_same_frame(scene) -> None:
    first, later, again = scene.frame(0.0), scene.frame(2.0), scene.frame(0.0)
    np.testing.assert_array_equal(first.rgb, again.rgb)
    assert np.linalg.norm(first.camera_pose[:3, 3] - later.camera_pose[:3, 3]) > 0.1
    np.testing.assert_allclose(np.linalg.det(later.camera_pose[:3, :3]), 1.0, atol=1e-9)


def test_unknown_objects_and_parts_are_refused_with_the_known_names(scene) -> None:
    from ovps_core.synthetic.live import LiveScene

    with pytest.raises(DatasetError, match="knife"):
        LiveScene(["spaceship"])
    with pytest.raises(DatasetError, match="blade"):
        scene.part_points("knife", "lid")
