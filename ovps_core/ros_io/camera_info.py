"""Camera of an image from its sensor_msgs/CameraInfo.

A camera_info describes two images: the raw one by K and D, the rectified one by P (REP 104, image_pipeline).
Drivers and image_proc send the same camera_info for both, so it does not say which of the two an image is:

1. Without distortion and rotation (D zero and no fisheye, R identity), and with K as in P, both are one picture.
   So are they where one of K and P is zero; then the other one counts.
2. Otherwise the image's topic says it, by the words that image_proc and drivers use: ``image_rect`` is rectified,
   ``image_raw`` is not. A rectified image has P. The rays of a raw image are undistorted with K and D.
3. If the topic has neither word and both readings differ by more than half a pixel, there is no camera, but an
   error that asks for the option ``image_geometry``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import CameraInfoError
from ovps_core.structures.camera import FISHEYE_MODELS, CameraIntrinsics, Distortion

AUTO, RAW, RECTIFIED = "auto", "raw", "rectified"
IMAGE_GEOMETRIES = (AUTO, RAW, RECTIFIED)

_MAX_DIFFERENCE = 0.5  # pixels between two readings that count as one
_NO_ROTATION = 1e-6
_MAX_SKEW = 5.0  # pixels; OpenCV's calibration has none, other tools' are below
_MAX_OFF_CENTRE = 0.22
"""Largest distance of the principal point from the centre, as a share of the image's side, if both sides agree.

The matrix of half the resolution puts it 25 % off to the left and the top, that of full HD in an image of 1280x720
to the right and the bottom, both by about as much. A crop or a shifted lens moves it along one side, or unevenly.
"""
# Difference of the two shares up to which they look like one change of resolution.
_SAME_SCALE = 0.1
_FISHEYE = re.compile(
    "|".join((*FISHEYE_MODELS, "fish", "kannala", "theta", "omni", "sphere", "unified", "mei"))
)
"""Parts of the names of fisheye models; with coefficients of zero they are no pinhole either."""
_ASK = "set image_geometry to raw or rectified"
_RESOLUTION = "are its matrices of another resolution? Calibrate at the resolution of the images"


def camera_intrinsics(message: Any, topic: str = "", geometry: str = AUTO) -> CameraIntrinsics:
    """Camera of the image that belongs to a sensor_msgs/CameraInfo.

    Binning and region of interest are applied, so that the size is that of the image.

    Args:
        message: the camera_info.
        topic: topic of the image; its words "raw" and "rect" are read.
        geometry: one of :data:`IMAGE_GEOMETRIES`: whether the image is rectified; auto asks the topic.

    Raises:
        CameraInfoError: the camera was never calibrated, or at another resolution; its distortion model is
            unknown; or it is not known whether the image is rectified.
    """
    if not np.isfinite([*message.k, *message.p, *message.r, *message.d]).all():
        raise CameraInfoError("camera_info with numbers that are not finite; calibrate the camera")
    window = _Window(message)
    k, p = (_matrix(values) for values in (message.k, np.reshape(message.p, (3, 4))[:, :3]))
    if k is None and p is None:
        return CameraIntrinsics.from_matrix(message.k, message.width, message.height)  # raises
    distorted, rotated = _is_distorted(message), _is_rotation(message.r)
    of_rectified = k if p is None else p
    one_matrix = k is None or p is None or np.allclose(k, p)
    named = _geometry_of(topic) if geometry == AUTO else geometry
    if geometry == AUTO and one_matrix and not distorted and not rotated:
        named = RECTIFIED
    if named == RECTIFIED:
        return window.camera(of_rectified)
    try:
        raw = _raw_camera(message, k, window, distorted, rotated)
    except CameraInfoError as error:
        raise CameraInfoError(f"{error}; if the image is rectified, {_ASK}") from error
    if named == RAW:
        return raw
    rectified = window.camera(of_rectified)
    if _difference(raw, rectified) > _MAX_DIFFERENCE:
        distortion = f"{message.distortion_model} {[round(float(d), 4) for d in message.d]}"
        reason = f"has distortion {distortion}" if distorted else "has different matrices K and P"
        raise CameraInfoError(
            f"camera_info {reason}, and the topic {topic!r} does not say whether its images are rectified "
            f"(words 'raw' and 'rect'): {_ASK}"
        )
    return rectified


def _raw_camera(
    message: Any, k: NDArray[np.float64] | None, window: _Window, distorted: bool, rotated: bool
) -> CameraIntrinsics:
    """Camera of a raw image."""
    if k is None:
        raise CameraInfoError("a raw image, but K of its camera_info is not a camera matrix")
    if rotated:
        raise CameraInfoError(
            "a raw image whose camera_info has a rotation R: the depth of a stereo camera belongs to the "
            "rectified image, so give that one (image_rect)"
        )
    camera = window.camera(k)
    if not distorted:
        return camera
    coefficients = tuple(float(value) for value in message.d)
    if not any(coefficients):
        coefficients = (0.0,) * 4  # of a fisheye: r = f theta
    return replace(camera, distortion=Distortion(message.distortion_model, coefficients))


def _is_distorted(message: Any) -> bool:
    """Return True for a lens that is no pinhole: coefficients, or a fisheye model even without them."""
    return bool(np.any(message.d)) or bool(_FISHEYE.search(message.distortion_model.lower()))


class _Window:
    """Part of the calibrated image that the camera sends: region of interest and binning.

    Args:
        message: the camera_info.

    Raises:
        CameraInfoError: the region does not lie in the calibrated image.
    """

    def __init__(self, message: Any) -> None:
        roi, full = message.roi, (int(message.width), int(message.height))
        self._offset = int(roi.x_offset), int(roi.y_offset)
        self._binning = max(1, int(message.binning_x)), max(1, int(message.binning_y))
        size = int(roi.width) or full[0], int(roi.height) or full[1]
        if min(size) < 1:
            raise CameraInfoError(
                f"camera_info of {full[0]}x{full[1]} pixels; expected the size of the image"
            )
        ends = self._offset[0] + size[0], self._offset[1] + size[1]
        if ends[0] > full[0] or ends[1] > full[1]:
            raise CameraInfoError(
                f"camera_info of {full[0]}x{full[1]} pixels with a region of interest of {size[0]}x{size[1]} at "
                f"{self._offset}; expected the size of the whole calibrated image and a region inside it"
            )
        self._size = size[0] // self._binning[0], size[1] // self._binning[1]
        self._full = full

    def camera(self, matrix: NDArray[np.float64] | None) -> CameraIntrinsics:
        """Pinhole camera of the window.

        Raises:
            CameraInfoError: the matrix is of another resolution than the calibrated image, or no camera matrix.
        """
        assert matrix is not None  # the caller has chosen one that is there
        self._check(matrix)
        x, y = self._binning
        k = matrix.copy()
        # centre of the first binned pixel: (binning - 1) / 2
        k[0, 2] = (k[0, 2] - self._offset[0] - (x - 1) / 2) / x
        k[1, 2] = (k[1, 2] - self._offset[1] - (y - 1) / 2) / y
        k[0, 0], k[1, 1] = k[0, 0] / x, k[1, 1] / y
        return CameraIntrinsics.from_matrix(k, *self._size)

    def _check(self, matrix: NDArray[np.float64]) -> None:
        """Refuse what is no camera matrix of the calibrated image."""
        size = f"camera_info of {self._full[0]}x{self._full[1]} pixels"
        if not np.allclose(matrix[2], (0, 0, 1)):
            row = ", ".join(f"{value:g}" for value in matrix[2])
            raise CameraInfoError(
                f"{size} with the camera matrix's last row ({row}); expected (0, 0, 1): is it transposed? "
                "Matrices are written row by row: fx, 0, cx, 0, fy, cy, 0, 0, 1"
            )
        if max(abs(matrix[0, 1]), abs(matrix[1, 0])) > _MAX_SKEW:
            raise CameraInfoError(
                f"{size} with {matrix[0, 1]:g} and {matrix[1, 0]:g} beside the focal lengths; expected 0: "
                "calibrate the camera, and write its matrix row by row: fx, 0, cx, 0, fy, cy, 0, 0, 1"
            )
        centre = matrix[:2, 2]
        point = f"{size} with the principal point ({centre[0]:g}, {centre[1]:g})"
        if not centre.all():
            raise CameraInfoError(
                f"{point}; it was not filled: set cx and cy, which are near the centre of the image, or calibrate "
                "the camera"
            )
        last = np.subtract(self._full, 1)
        if (centre < 0).any() or (centre > last).any():
            raise CameraInfoError(f"{point} outside of them; {_RESOLUTION}")
        CameraIntrinsics.from_matrix(matrix, *self._full)  # raises if these are no pixels
        x, y = centre / last - 0.5
        if max(abs(x), abs(y)) > _MAX_OFF_CENTRE and abs(x - y) < _SAME_SCALE:
            raise CameraInfoError(f"{point} far from their centre; {_RESOLUTION}")


def _matrix(values: Any) -> NDArray[np.float64] | None:
    """Camera matrix [3, 3]; None for one that was not filled: zeros, or the identity."""
    matrix = np.array(values, np.float64).reshape(3, 3)
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or np.array_equal(matrix, np.eye(3)):
        return None
    return matrix


def _is_rotation(values: Any) -> bool:
    """Return True if R turns the image; zeros and the identity do not."""
    r = np.reshape(values, (3, 3))
    return bool(np.any(r)) and not np.allclose(r, np.eye(3), atol=_NO_ROTATION)


def _geometry_of(topic: str) -> str:
    words = re.split(r"[/_]+", topic.lower())
    if "rect" in words or "rectified" in words:
        return RECTIFIED  # also image_rect_raw of RealSense's infrared cameras
    return RAW if "raw" in words else AUTO


def _difference(a: CameraIntrinsics, b: CameraIntrinsics) -> float:
    """Largest distance, pixels, between two cameras' readings of pixels of one image."""
    places = np.linspace(0, 1, 9)
    rows, columns = (
        g.ravel() for g in np.meshgrid(places * (a.height - 1), places * (a.width - 1))
    )
    apart = (a.rays(rows, columns) - b.rays(rows, columns)) * (a.fx, a.fy)
    largest = float(np.abs(apart).max())
    return largest if np.isfinite(largest) else float("inf")
