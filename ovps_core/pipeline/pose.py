"""Pose and extents of parts from masks and a depth image.

All coordinates are in the camera's optical frame (REP 103): x right, y down, z ahead, metres.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import CameraError
from ovps_core.structures.camera import CameraIntrinsics
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.part3d import Part3D

Points = NDArray[np.float64]

DEPTH_RANGE = (0.1, 3.0)
MIN_COVERAGE = 0.2

_MIN_POINTS = 10
_MAX_POINTS = 4000
_MAD_TO_SIGMA = 1.4826  # of a normal distribution
_OUTLIER_SIGMAS = 4.0
_MIN_EXTENT = 0.003  # metres; smaller deviations from a flat part are a camera's noise
_TAIL = 0.02  # share of points left out at each end of an extent


def part_3d(
    part: PartMask,
    depth_m: NDArray[np.float32],
    camera: CameraIntrinsics,
    depth_range: Sequence[float] = DEPTH_RANGE,
    min_coverage: float = MIN_COVERAGE,
) -> Part3D | None:
    """Pose and extents of one part; None if too little of it has depth.

    The centre is that of the body, not of the visible surface. The cross-section along the long axis is fitted
    with a flat or round profile; a round one has its centre behind the surface. The thickness of a flat part
    cannot be seen, so its centre lies on its face.

    Args:
        part: mask in the colour image.
        depth_m: float32 [H, W] metres, aligned to the colour image; NaN, inf and 0 mean "not measured".
        camera: intrinsics of the colour image.
        depth_range: nearest and farthest usable depth, metres.
        min_coverage: minimum share of the mask with usable depth, 0..1.

    Raises:
        CameraError: image, depth and camera differ in size.
    """
    camera.check_size(depth_m)
    box = part.box
    if box.x_offset + box.width > camera.width or box.y_offset + box.height > camera.height:
        raise CameraError(f"mask at {box} outside a depth image of {camera.width}x{camera.height}")
    window = depth_m[box.slices]
    with np.errstate(invalid="ignore"):
        usable = part.mask & (window >= depth_range[0]) & (window <= depth_range[1])
    rows, columns = np.nonzero(usable)
    coverage = len(rows) / max(part.area, 1)
    if coverage < min_coverage or len(rows) < _MIN_POINTS:
        return None
    indices = ((rows + box.y_offset) * camera.width + columns + box.x_offset).astype(np.uint32)
    inner, rim = _without_border(part.mask)
    if np.count_nonzero(usable & inner) < _MIN_POINTS:
        inner, rim = part.mask, 0.5
    points = _window_points(window, usable & inner, box.x_offset, box.y_offset, camera)
    if len(points) < _MIN_POINTS:  # the distortion model does not reach the part
        return None
    pose, size = _fit(points, rim * 2.0 / (camera.fx + camera.fy))
    return Part3D(
        id=part.id,
        track_id=part.track_id,
        query=part.query,
        score=part.score,
        pose=pose,
        size=size,
        depth_coverage=float(coverage),
        indices=indices,
        object_id=part.object_id,
    )


def parts_3d(
    masks: PartMasks,
    depth_m: NDArray[np.float32],
    camera: CameraIntrinsics,
    depth_range: Sequence[float] = DEPTH_RANGE,
    min_coverage: float = MIN_COVERAGE,
) -> tuple[Part3D, ...]:
    """:func:`part_3d` of every part that has enough depth, in the masks' order."""
    found = (part_3d(part, depth_m, camera, depth_range, min_coverage) for part in masks.parts)
    return tuple(part for part in found if part is not None)


def depths_out_of_range(
    masks: PartMasks,
    found: Sequence[Part3D],
    depth_m: NDArray[np.float32],
    depth_range: Sequence[float] = DEPTH_RANGE,
    min_coverage: float = MIN_COVERAGE,
) -> list[float]:
    """Median depth, metres, of each part that :func:`parts_3d` left out although its depth was measured.

    Args:
        masks: all parts of the image.
        found: those with a pose.
        depth_m: see :func:`part_3d`.
        depth_range: see :func:`part_3d`.
        min_coverage: see :func:`part_3d`.
    """
    with_pose = {part.id for part in found}
    medians = []
    for part in masks.parts:
        if part.id in with_pose:
            continue
        depth = depth_m[part.box.slices][part.mask]
        depth = depth[np.isfinite(depth) & (depth > 0)]
        if len(depth) < max(min_coverage * part.area, _MIN_POINTS):
            continue
        median = float(np.median(depth))
        if not depth_range[0] <= median <= depth_range[1]:
            medians.append(median)
    return medians


def _without_border(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], float]:
    """Remove the outermost pixels of a mask; return it and the number of pixels removed on each side.

    At its outline a part's depth is mixed with that of the background. Regions that are too thin to lose their
    outline stay whole. The fitted extents are widened by the removed pixels.
    """
    kernel = np.ones((3, 3), np.uint8)
    padded = np.pad(mask.astype(np.uint8), 1)
    core = np.asarray(cv2.erode(padded, kernel), dtype=bool)
    thick = np.asarray(cv2.dilate(core.astype(np.uint8), kernel), dtype=bool)
    thin = padded.astype(bool) & ~thick
    removed = 1.5 if np.count_nonzero(core) > np.count_nonzero(thin) else 0.5
    return (core | thin)[1:-1, 1:-1], removed


def _window_points(
    depth: NDArray[np.float32],
    mask: NDArray[np.bool_],
    left: int,
    top: int,
    camera: CameraIntrinsics,
) -> Points:
    """Points float64 [N, 3] of a mask in a window of the image, without outliers in depth.

    A large mask is sampled, since a robust fit does not gain from more points.
    """
    rows, columns = np.nonzero(mask)
    if len(rows) > _MAX_POINTS:
        some = np.random.default_rng(0).integers(len(rows), size=_MAX_POINTS)
        rows, columns = rows[some], columns[some]
    z = depth[rows, columns].astype(np.float64)
    keep = _inliers(z)
    rows, columns, z = rows[keep], columns[keep], z[keep]
    points = np.column_stack([camera.rays(rows + top, columns + left) * z[:, None], z])
    return points[np.isfinite(points).all(axis=1)]


def _inliers(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """True for values within some sigmas of the median; sigma is taken from the median absolute deviation."""
    offset = np.abs(values - np.median(values))
    sigma = max(_MAD_TO_SIGMA * float(np.median(offset)), _MIN_EXTENT)
    return offset <= _OUTLIER_SIGMAS * sigma


def _fit(points: Points, rim: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(pose [4, 4], size [3]) of surface points [N, 3]; ``rim`` is the removed outline per metre of depth."""
    rotation, surface = _frame(points)
    keep = _inliers(surface)
    if np.count_nonzero(keep) >= _MIN_POINTS:
        points = points[keep]
        rotation, _ = _frame(points)
    local = points @ rotation
    low, high = np.quantile(local, [_TAIL, 1 - _TAIL], axis=0)
    middle, size = (low + high) / 2, (high - low) / (1 - 2 * _TAIL)
    slant = np.hypot(rotation[0], rotation[1]).clip(0.3)  # of x, y, z against the image plane
    size[:2] += 2 * rim * points[:, 2].mean() / slant[:2]
    middle[2] = _centre_depth(local, middle, size)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, rotation @ middle
    return pose, size


def _frame(points: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rotation [3, 3] with the axes as columns, residuals [N] to the surface fitted across x).

    x is the first principal axis; z is the normal of the plane through x that fits best towards the camera.
    """
    centre = points.mean(axis=0)
    offsets = points - centre
    x = np.linalg.eigh(offsets.T @ offsets)[1][:, 2]
    x = x * (1 if x[np.argmax(np.abs(x))] > 0 else -1)
    to_camera = -centre / np.linalg.norm(centre)
    up = to_camera - x * (x @ to_camera)
    if np.linalg.norm(up) < 0.1:  # the part points at the camera
        up = np.eye(3)[np.argmin(np.abs(x))]
        up = up - x * (x @ up)
    up /= np.linalg.norm(up)
    side = np.cross(up, x)
    lateral, height = offsets @ side, offsets @ up
    slope = (lateral @ height) / max(lateral @ lateral, 1e-12)
    z = (up - slope * side) / np.hypot(1.0, slope)
    return np.stack([x, np.cross(z, x), z], axis=-1), height - slope * lateral


def _centre_depth(local: Points, middle: Points, size: Points) -> float:
    """Position of the body's centre along z: ``c`` of the profile c + a sqrt(1 - (y / half width)^2).

    ``a`` is 0 for a flat face and the radius for a cylinder; both come out exactly.
    """
    half = size[1] / 2
    if half <= 0:
        return float(middle[2])
    profile = np.sqrt(1 - ((local[:, 1] - middle[1]) / half).clip(-1, 1) ** 2)
    spread = profile.var()
    mean = float(local[:, 2].mean())
    if spread < 1e-6:
        return mean
    bulge = float(((profile - profile.mean()) * (local[:, 2] - mean)).mean() / spread)
    return mean - min(max(bulge, 0.0), half) * float(profile.mean())
