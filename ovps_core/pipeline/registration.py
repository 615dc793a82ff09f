"""Registration of a depth image to a colour camera at another place."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ovps_core.structures.camera import CameraIntrinsics

_MAX_FOOTPRINT = 8  # pixels; a depth pixel never covers more in the colour image


def register_depth(
    depth_m: NDArray[np.float32],
    depth_camera: CameraIntrinsics,
    colour_camera: CameraIntrinsics,
    transform: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Depth image as the colour camera would measure it.

    Every depth pixel is moved into the colour camera's frame and drawn there as large as it is, the nearest one in
    front.

    Args:
        depth_m: float32 [H, W] of the depth camera, metres; NaN, inf and 0 mean "not measured".
        depth_camera: intrinsics of the depth image.
        colour_camera: intrinsics of the colour image.
        transform: float64 [4, 4], from the depth camera's optical frame to that of the colour camera.

    Returns:
        float32 [height, width] of the colour camera, metres; NaN where nothing was measured.

    Raises:
        CameraError: the depth image is not of the depth camera's size.
    """
    points = depth_camera.cloud(depth_m).reshape(-1, 3).astype(np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    points = points @ transform[:3, :3].T + transform[:3, 3]
    points = points[points[:, 2] > 0]
    height, width = colour_camera.height, colour_camera.width
    nearest = np.full(height * width, np.inf, np.float32)
    if len(points):
        pixels, z = colour_camera.project(points), points[:, 2].astype(np.float32)
        scale_x, scale_y = colour_camera.fx / depth_camera.fx, colour_camera.fy / depth_camera.fy
        across, down = (min(_MAX_FOOTPRINT, math.ceil(scale)) for scale in (scale_x, scale_y))
        left = np.floor(pixels[:, 0] - across / 2 + 1)
        top = np.floor(pixels[:, 1] - down / 2 + 1)
        for x in range(across):
            for y in range(down):
                column, row = left + x, top + y
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                places = (row[inside] * width + column[inside]).astype(np.int64)
                np.minimum.at(nearest, places, z[inside])
    nearest[np.isinf(nearest)] = np.nan
    return nearest.reshape(height, width)
