"""A part's pose from its mask and depth: centre within 10 mm, long axis within 10 degrees."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ovps_core.errors import ImageError
from ovps_core.language.parser import parse_query
from ovps_core.pipeline.pose import part_3d, parts_3d
from ovps_core.structures.camera import CameraIntrinsics
from ovps_core.structures.masks import Box, PartMask, PartMasks
from ovps_core.structures.part3d import Part3D

CAMERA = CameraIntrinsics(600.0, 600.0, 319.5, 239.5, 640, 480)
SEEDS = 30


def rays() -> np.ndarray:
    return CAMERA.cloud(np.ones((CAMERA.height, CAMERA.width), np.float32)).astype(float)


RAYS = rays()


def box_depth(half: np.ndarray, rotation: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Depth [H, W] of a box seen by CAMERA, 0 beside it (slab method)."""
    origin, direction = -rotation.T @ centre, RAYS @ rotation
    with np.errstate(divide="ignore"):
        a, b = (-half - origin) / direction, (half - origin) / direction
    near, far = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
    return np.where((near < far) & (near > 0), near, 0).astype(np.float32)


def cylinder_depth(
    radius: float, half: float, rotation: np.ndarray, centre: np.ndarray
) -> np.ndarray:
    """Depth [H, W] of a capped cylinder along its own x."""
    origin, d = -rotation.T @ centre, RAYS @ rotation
    a = d[..., 1] ** 2 + d[..., 2] ** 2
    b = d[..., 1] * origin[1] + d[..., 2] * origin[2]
    root = b**2 - a * (origin[1] ** 2 + origin[2] ** 2 - radius**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        side_near, side_far = (-b - np.sqrt(root)) / a, (-b + np.sqrt(root)) / a
        caps = np.stack([(-half - origin[0]) / d[..., 0], (half - origin[0]) / d[..., 0]])
    near, far = np.maximum(side_near, caps.min(0)), np.minimum(side_far, caps.max(0))
    return np.where((root > 0) & (near < far) & (near > 0), near, 0).astype(np.float32)


def as_part(mask: np.ndarray, part_id: int = 1) -> PartMask:
    rows, columns = np.nonzero(mask)
    top, left = int(rows.min()), int(columns.min())
    roi = Box(left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
    return PartMask(part_id, parse_query("knife handle"), 0.9, roi, mask[roi.slices], track_id=4)


def random_pose(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Anywhere in view, but not pointing at the camera: such a part shows no length."""
    depth = rng.uniform(0.4, 0.9)
    centre = depth * np.array([rng.uniform(-0.25, 0.25), rng.uniform(-0.2, 0.2), 1.0])
    while True:
        rotation = Rotation.from_quat(rng.normal(size=4)).as_matrix()
        if abs(rotation[:, 0] @ centre) / np.linalg.norm(centre) < np.cos(np.radians(30)):
            return rotation, centre


def errors(part: Part3D | None, rotation: np.ndarray, centre: np.ndarray) -> tuple[float, float]:
    """(centre error in metres, angle between the long axes in degrees)."""
    assert part is not None
    cosine = min(1.0, abs(float(part.pose[:3, 0] @ rotation[:, 0])))
    return float(np.linalg.norm(part.position - centre)), float(np.degrees(np.arccos(cosine)))


def damage(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Damage of real depth cameras: noise, holes, and a border mixed with what lies behind."""
    mask = depth > 0
    depth = depth + mask * rng.normal(0, 0.0015, depth.shape)
    inside = mask.copy()
    for axis in (0, 1):
        for shift in (-1, 1):
            inside &= np.roll(mask, shift, axis)
    border = mask & ~inside
    depth[border] += rng.uniform(0, 0.3, np.count_nonzero(border))
    depth[mask & (rng.random(depth.shape) < 0.4)] = rng.choice([0.0, np.nan, np.inf])
    return depth.astype(np.float32)


@pytest.mark.parametrize("shape", ["box", "cylinder"])
@pytest.mark.parametrize("damaged", [False, True])
def test_centre_and_long_axis(shape: str, damaged: bool) -> None:
    found = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        rotation, centre = random_pose(rng)
        long, wide, high = (
            rng.uniform(0.05, 0.09), rng.uniform(0.009, 0.016), rng.uniform(0.006, 0.012),
        )  # fmt: skip
        if shape == "box":
            depth = box_depth(np.array([long, wide, high]), rotation, centre)
        else:
            depth = cylinder_depth(wide, long, rotation, centre)
        part = as_part(depth > 0)
        if damaged:
            depth = damage(depth, rng)
        found.append(errors(part_3d(part, depth, CAMERA), rotation, centre))
    metres, degrees = np.median(found, axis=0)
    print(f"{shape} damaged={damaged}: {1000 * metres:.1f} mm, {degrees:.1f} deg")
    assert metres < 0.010 and degrees < 10


@pytest.fixture(scope="module")
def rod() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(depth, rotation, centre) of a cylinder across the picture."""
    rotation = Rotation.from_euler("zy", [20, 15], degrees=True).as_matrix()
    centre = np.array([0.05, -0.03, 0.6])
    return cylinder_depth(0.012, 0.07, rotation, centre), rotation, centre


def test_axes_size_and_indices(rod: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    depth, _, centre = rod
    mask = as_part(depth > 0, part_id=3)
    part = part_3d(mask, depth, CAMERA)
    assert part is not None
    assert (part.id, part.track_id, part.query, part.score) == (3, 4, mask.query, mask.score)
    axes = part.pose[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes[:, 2] @ -centre / np.linalg.norm(centre) > 0.9
    assert part.size[:2] == pytest.approx([0.14, 0.024], abs=0.005)
    np.testing.assert_allclose(Rotation.from_quat(part.quaternion).as_matrix(), axes, atol=1e-9)
    assert part.depth_coverage == 1.0
    assert part.indices.dtype == np.uint32
    cloud = CAMERA.cloud(depth).reshape(-1, 3)
    assert set(part.indices) == set(np.flatnonzero(depth > 0))
    assert np.linalg.norm(cloud[part.indices] - part.position, axis=1).max() < 0.08


def test_cloud_is_organised_and_keeps_holes(rod: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    depth = rod[0].copy()
    depth[0, 0] = 0.5
    cloud = CAMERA.cloud(depth)
    assert cloud.shape == (480, 640, 3) and cloud.dtype == np.float32
    np.testing.assert_allclose(cloud[0, 0], [0.5 * -319.5 / 600, 0.5 * -239.5 / 600, 0.5])
    assert np.isnan(cloud[depth == 0]).all() and np.isfinite(cloud[depth > 0]).all()


def test_too_little_depth_gives_no_part(rod: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    depth, mask = rod[0], as_part(rod[0] > 0)
    assert part_3d(mask, np.full_like(depth, np.nan), CAMERA) is None
    assert part_3d(mask, depth, CAMERA, depth_range=(1.0, 2.0)) is None
    few = np.where(np.random.default_rng(0).random(depth.shape) < 0.15, depth, np.nan)
    assert part_3d(mask, few, CAMERA) is None
    part = part_3d(mask, few, CAMERA, min_coverage=0.1)
    assert part is not None and part.depth_coverage == pytest.approx(0.15, abs=0.02)
    assert len(part.indices) == round(part.depth_coverage * mask.area)


@pytest.mark.parametrize("thickness", [1, 2, 3, 5])
def test_a_thin_part_has_a_finite_pose_along_its_length(thickness: int) -> None:
    depth = np.full((480, 640), 0.5, np.float32)
    mask = np.zeros((480, 640), bool)
    mask[200 : 200 + thickness, 100:300] = True
    part = part_3d(as_part(mask), depth, CAMERA)
    assert part is not None
    assert abs(part.pose[0, 0]) > 0.99
    assert part.size[0] == pytest.approx(200 * 0.5 / 600, rel=0.06)
    assert np.isfinite(part.pose).all() and np.isfinite(part.size).all()


def test_parts_keep_their_order_and_ids(rod: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    depth, handle = rod[0], as_part(rod[0] > 0, part_id=1)
    nothing = np.zeros_like(handle.mask)
    nothing[0, 0] = True
    empty = PartMask(2, handle.query, 0.5, handle.box, nothing)
    last = PartMask(3, handle.query, 0.4, handle.box, handle.mask)
    masks = PartMasks(480, 640, (handle.query,), (handle, empty, last), "none")
    assert [part.id for part in parts_3d(masks, depth, CAMERA)] == [1, 3]


def test_sizes_that_do_not_fit_are_said(rod: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ImageError, match="aligned to the colour image"):
        part_3d(as_part(rod[0] > 0), rod[0][:240], CAMERA)
    with pytest.raises(ImageError, match="calibrate"):
        CameraIntrinsics.from_matrix(np.zeros(9), 640, 480)
    with pytest.raises(ImageError, match="expected \\[3, 3\\]"):
        CameraIntrinsics.from_matrix([1, 2, 3], 640, 480)
    assert CameraIntrinsics.from_matrix(CAMERA.matrix, 640, 480) == CAMERA
