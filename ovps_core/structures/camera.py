"""Intrinsics of a pinhole camera, and the point clouds of its depth images."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovps_core.errors import CameraError


@dataclass(frozen=True)
class CameraIntrinsics:
    """Pinhole camera without distortion, as ``camera_info`` describes a rectified image.

    Pixel centres lie at integer coordinates.

    Attributes:
        fx, fy: focal lengths, pixels.
        cx, cy: principal point, pixels.
        width, height: size of the image, pixels.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    @classmethod
    def from_matrix(cls, matrix: ArrayLike, width: int, height: int) -> CameraIntrinsics:
        """From K, [3, 3] or the nine numbers of ``CameraInfo.k``.

        Raises:
            CameraError: not nine numbers, or no focal length: the camera was never calibrated.
        """
        values = np.asarray(matrix, dtype=np.float64)
        if values.size != 9:
            raise CameraError(f"camera matrix of shape {values.shape}; expected [3, 3]")
        k = values.reshape(3, 3)
        if not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
            raise CameraError(
                f"camera matrix with focal lengths {k[0, 0]}, {k[1, 1]}; expected positive pixels: "
                "calibrate the camera, or let its driver publish camera_info"
            )
        return cls(k[0, 0], k[1, 1], k[0, 2], k[1, 2], int(width), int(height))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """K, float64 [3, 3]."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def cloud(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Organised point cloud float32 [H, W, 3] of a depth image; NaN where nothing was measured.

        Raises:
            CameraError: the depth image is not of the camera's size.
        """
        self.check_size(depth_m)
        across, down = _rays(self)
        depth = np.where(np.isfinite(depth_m) & (depth_m > 0), depth_m, np.float32(np.nan))
        return np.stack([across * depth, down[:, None] * depth, depth], axis=-1)

    def check_size(self, depth_m: NDArray[np.float32]) -> None:
        """Raise CameraError unless the depth image is [height, width]."""
        if depth_m.shape != (self.height, self.width):
            raise CameraError(
                f"depth image of shape {depth_m.shape}, camera_info of {self.width}x{self.height}; "
                "expected depth aligned to the colour image and the colour image's camera_info"
            )


@functools.lru_cache(8)
def _rays(camera: CameraIntrinsics) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x/z of every column and y/z of every row."""
    across = (np.arange(camera.width) - camera.cx) / camera.fx
    down = (np.arange(camera.height) - camera.cy) / camera.fy
    return across.astype(np.float32), down.astype(np.float32)
