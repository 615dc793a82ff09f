"""Intrinsics of a camera, its rays, and the point clouds of its depth images."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovps_core.errors import CameraError, CameraInfoError

FISHEYE_MODELS = ("equidistant", "fisheye")
DISTORTION_MODELS = ("plumb_bob", "rational_polynomial", *FISHEYE_MODELS)
"""Names of distortion models, as in ``sensor_msgs/distortion_models.hpp`` and the drivers of fisheye cameras."""

_COEFFICIENTS = (4, 5, 8, 12, 14)  # counts that OpenCV knows, of all models but the fisheye
_MAX_REPROJECTION = 0.5  # pixels; a ray that misses its pixel by more is no solution
_LEAST_FOCAL = 0.05  # of the image's side; the angle of view is then 169 degrees
_UNDISTORT_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)


@dataclass(frozen=True)
class Distortion:
    """Lens distortion of an image that is not rectified.

    Attributes:
        model: one of :data:`DISTORTION_MODELS`; ``plumb_bob`` and ``rational_polynomial`` are OpenCV's model of
            Brown (1971), the fisheye models are that of Kannala and Brandt (2006).
        coefficients: in OpenCV's order.

    Raises:
        CameraInfoError: the model is unknown, or has another number of coefficients.
    """

    model: str
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the number of coefficients."""
        if self.model not in DISTORTION_MODELS:
            raise CameraInfoError(
                f"distortion model {self.model!r}; expected one of {', '.join(DISTORTION_MODELS)}: "
                "rectify the image (image_proc), and give its topic"
            )
        counts = (4,) if self.is_fisheye else _COEFFICIENTS
        if len(self.coefficients) not in counts or not np.isfinite(self.coefficients).all():
            raise CameraInfoError(
                f"{self.model} distortion with the coefficients {list(self.coefficients)}; expected "
                f"{', '.join(map(str, counts))} finite numbers: calibrate the camera again"
            )

    @property
    def is_fisheye(self) -> bool:
        """True for the model of a fisheye lens."""
        return self.model in FISHEYE_MODELS


@dataclass(frozen=True)
class CameraIntrinsics:
    """Camera of an image: a pinhole, with the distortion of its lens if the image is not rectified.

    Pixel centres lie at integer coordinates.

    Attributes:
        fx, fy: focal lengths, pixels.
        cx, cy: principal point, pixels.
        width, height: size of the image, pixels.
        distortion: distortion of the lens; None for a rectified image.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: Distortion | None = None

    @classmethod
    def from_matrix(cls, matrix: ArrayLike, width: int, height: int) -> CameraIntrinsics:
        """From a camera matrix, [3, 3] or nine numbers.

        Raises:
            CameraInfoError: not nine numbers, or no focal length of a lens: the camera was never calibrated.
        """
        values = np.asarray(matrix, dtype=np.float64)
        if values.size != 9:
            raise CameraInfoError(f"camera matrix of shape {values.shape}; expected [3, 3]")
        k = values.reshape(3, 3)
        if not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
            raise CameraInfoError(
                f"camera matrix with focal lengths {k[0, 0]}, {k[1, 1]}; expected positive pixels: "
                "calibrate the camera, or let its driver publish camera_info"
            )
        if k[0, 0] < _LEAST_FOCAL * width or k[1, 1] < _LEAST_FOCAL * height:
            raise CameraInfoError(
                f"camera matrix with focal lengths {k[0, 0]:g}, {k[1, 1]:g} for an image of {width}x{height}; no "
                "lens sees so wide an angle, and the unit is pixels: calibrate the camera"
            )
        fx, fy, cx, cy = (float(k[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
        return cls(fx, fy, cx, cy, int(width), int(height))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Camera matrix, float64 [3, 3]."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def rays(self, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.float64]:
        """x/z and y/z of the rays through pixels.

        Args:
            rows: rows of N pixels; fractions are allowed.
            columns: columns of these pixels.

        Returns:
            float64 [N, 2], NaN for pixels that the distortion model does not reach.
        """
        pixels = np.stack([np.asarray(columns, np.float64), np.asarray(rows, np.float64)], axis=-1)
        if self.distortion is None or not len(pixels):
            return np.asarray((pixels - (self.cx, self.cy)) / (self.fx, self.fy), np.float64)
        return _undistorted(pixels, self.matrix, self.distortion)

    def project(self, points: ArrayLike) -> NDArray[np.float64]:
        """Columns and rows, float64 [N, 2], of points [N, 3] before the camera, metres."""
        xyz = np.asarray(points, np.float64)
        if self.distortion is not None and len(xyz):
            return _projected(xyz, self.matrix, self.distortion)
        return xyz[:, :2] / xyz[:, 2:] * (self.fx, self.fy) + (self.cx, self.cy)

    def cloud(self, depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Organised point cloud float32 [H, W, 3] of a depth image; NaN where nothing was measured.

        Raises:
            CameraError: the depth image is not of the camera's size.
        """
        self.check_size(depth_m)
        across, down = _all_rays(self)
        depth = np.where(np.isfinite(depth_m) & (depth_m > 0), depth_m, np.float32(np.nan))
        return np.stack([across * depth, down * depth, depth], axis=-1)

    def check_size(self, depth_m: NDArray[np.float32]) -> None:
        """Raise CameraError unless the depth image is [height, width]."""
        if depth_m.shape != (self.height, self.width):
            raise CameraError(
                f"depth image of shape {depth_m.shape}, camera_info of {self.width}x{self.height}; "
                "expected depth aligned to the colour image and the colour image's camera_info"
            )


@functools.lru_cache(8)
def _all_rays(camera: CameraIntrinsics) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x/z and y/z of all pixels; both broadcast to [H, W]."""
    columns, rows = np.arange(camera.width), np.arange(camera.height)
    if camera.distortion is None:
        across, down = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
        return across.astype(np.float32)[None], down.astype(np.float32)[:, None]
    grid = np.meshgrid(rows, columns, indexing="ij")
    rays = camera.rays(grid[0].ravel(), grid[1].ravel()).astype(np.float32)
    rays = rays.reshape(camera.height, camera.width, 2)
    return rays[..., 0], rays[..., 1]


def _undistorted(
    pixels: NDArray[np.float64], matrix: NDArray[np.float64], distortion: Distortion
) -> NDArray[np.float64]:
    """Rays [N, 2] through distorted pixels [N, 2]; NaN where the ray does not come out at its pixel again."""
    points, d = pixels[:, None], np.array(distortion.coefficients)
    if distortion.is_fisheye:
        found = cv2.fisheye.undistortPoints(points, matrix, d, criteria=_UNDISTORT_STEPS)
    else:
        found = cv2.undistortPointsIter(points, matrix, d, np.eye(3), np.eye(3), _UNDISTORT_STEPS)
    rays = np.asarray(found, np.float64).reshape(-1, 2)
    again = _projected(np.column_stack([rays, np.ones(len(rays))]), matrix, distortion)
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(again - pixels).max(axis=1) <= _MAX_REPROJECTION)
    rays[wrong] = np.nan
    return rays


def _projected(
    points: NDArray[np.float64], matrix: NDArray[np.float64], distortion: Distortion
) -> NDArray[np.float64]:
    """Distorted pixels [N, 2] of points [N, 3]."""
    zero, d = np.zeros(3), np.array(distortion.coefficients)
    if distortion.is_fisheye:
        pixels, _ = cv2.fisheye.projectPoints(points[:, None], zero, zero, matrix, d)
    else:
        pixels, _ = cv2.projectPoints(points[:, None], zero, zero, matrix, d)
    return np.asarray(pixels, np.float64).reshape(-1, 2)
