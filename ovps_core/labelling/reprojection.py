"""Reprojection of pixels between pictures of a scene that stands still, by depth and poses of the camera.

A pixel is lifted to a point with its depth, and projected into the other picture. It is the same point there if
depth and grey at that place agree. If the other depth is nearer, the point is hidden. If it is farther, or the
grey differs, something has moved; there, and where no depth was measured, optical flow serves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.posed_camera import PosedCamera
from ovps_core.labelling.flow import MAX_GREY_CHANGE, OUTSIDE, Floats, Flow, sample

# Metres, and metres at a distance of 1 m: errors of depth cameras grow with the square of the distance
# (Khoshelham and Elberink, Sensors 2012: a standard deviation of 4 cm at 5 m).
_TOLERANCE, _TOLERANCE_AT_1_M = 0.01, 0.005


@dataclass(frozen=True)
class View:
    """Picture with depth.

    Attributes:
        grey: float32 [H, W], see :func:`ovps_core.labelling.flow.smooth_grey`.
        depth_m: float32 [H, W] along the optical axis, metres; 0 is "not measured".
        camera: camera of the picture and its pose.
    """

    grey: Floats
    depth_m: NDArray[np.float32]
    camera: PosedCamera


def reproject(one: View, other: View, flow: Flow) -> Flow:
    """Positions of pixels of one view in another.

    Args:
        one, other: views of one size.
        flow: optical flow from the first to the second, for pixels of which depth does not say where they are.
    """
    forward, seen = _positions(one, other, flow.forward)
    backward, _ = _positions(other, one, flow.backward)
    return Flow(forward, backward, seen)


def _positions(one: View, other: View, flow: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Positions [H, W, 2] of pixels in the other view, and the pixels bool [H, W] that depth found there."""
    height, width = one.depth_m.shape
    points = one.camera.intrinsics.cloud(one.depth_m).reshape(-1, 3).astype(np.float64)
    motion = np.linalg.inv(other.camera.pose) @ one.camera.pose
    points = points @ motion[:3, :3].T + motion[:3, 3]
    depth = points[:, 2].reshape(height, width)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = other.camera.intrinsics.project(points).reshape(height, width, 2)
        inside = (
            (depth > 0) & (pixels >= -0.5).all(-1) & (pixels < (width - 0.5, height - 0.5)).all(-1)
        )
    behind = np.full((height, width), np.nan)
    behind[inside] = _behind(depth[inside], pixels[inside], other.depth_m)
    tolerance = _TOLERANCE + _TOLERANCE_AT_1_M * depth**2
    positions = np.where(inside[..., None], pixels, OUTSIDE).astype(np.float32)
    change = np.abs(one.grey - sample(other.grey, positions))
    seen = (np.abs(behind) <= tolerance) & (change <= MAX_GREY_CHANGE)
    positions = np.where(seen[..., None], positions, flow)
    positions[(behind > tolerance) | (np.isfinite(depth) & ~inside)] = OUTSIDE
    return positions, seen


def _behind(
    depth: NDArray[np.float64], pixels: NDArray[np.float64], measured: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Metres by which points lie behind the nearest in depth of the four pixels around them; NaN without depth.

    Args:
        depth: of N points, metres.
        pixels: columns and rows [N, 2] of the points.
        measured: depth [H, W], metres.
    """
    best = np.full(len(depth), np.nan)
    column, row = np.floor(pixels).astype(np.int64).T
    for right, down in ((0, 0), (0, 1), (1, 0), (1, 1)):
        rows = np.clip(row + down, 0, measured.shape[0] - 1)
        columns = np.clip(column + right, 0, measured.shape[1] - 1)
        there = measured[rows, columns]
        apart = np.where(there > 0, depth - there, np.nan)
        best = np.where(np.isnan(best) | (np.abs(apart) < np.abs(best)), apart, best)
    return best
