"""Decoding of ROS images: every common encoding to RGB, depth images to metres.

Encodings are named as in ``sensor_msgs/image_encodings.hpp``. cv_bridge converts colours where it is installed and
works; elsewhere OpenCV does, with equal results.
"""

from __future__ import annotations

import array
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import ImageError
from ovps_core.ros_io.bridge import find_bridge

Bytes: TypeAlias = "bytes | bytearray | memoryview | array.array[int] | NDArray[np.uint8]"

# encoding: (bytes of one sample, samples of one pixel, OpenCV's conversion code to RGB)
_COLOUR: dict[str, tuple[int, int, int | None]] = {
    "rgb8": (1, 3, None),
    "bgr8": (1, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (1, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": (1, 4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": (2, 3, None),
    "bgr16": (2, 3, cv2.COLOR_BGR2RGB),
    "rgba16": (2, 4, cv2.COLOR_RGBA2RGB),
    "bgra16": (2, 4, cv2.COLOR_BGRA2RGB),
    "mono16": (2, 1, cv2.COLOR_GRAY2RGB),
    "yuv422": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (1, 2, cv2.COLOR_YUV2RGB_YUYV),
    "yuyv": (1, 2, cv2.COLOR_YUV2RGB_YUYV),
    **{
        f"bayer_{pattern}{8 * size}": (size, 1, code)
        for size in (1, 2)
        for pattern, code in (
            ("rggb", cv2.COLOR_BayerRGGB2RGB),
            ("bggr", cv2.COLOR_BayerBGGR2RGB),
            ("gbrg", cv2.COLOR_BayerGBRG2RGB),
            ("grbg", cv2.COLOR_BayerGRBG2RGB),
        )
    },
}
_DEPTH = {"16UC1": 2, "mono16": 2, "32FC1": 4}

COLOUR_ENCODINGS = tuple(_COLOUR)
DEPTH_ENCODINGS = tuple(_DEPTH)


def to_rgb(
    data: Bytes, height: int, width: int, encoding: str, step: int = 0, is_bigendian: bool = False
) -> NDArray[np.uint8]:
    """Convert the data of a ``sensor_msgs/Image`` to RGB uint8 [height, width, 3].

    The result of ``rgb8`` in writable memory is a view of ``data``, not a copy. Values of 16 bits are scaled
    by 255/65535.

    Args:
        data: bytes of the message.
        height: rows of the image.
        width: columns of the image.
        encoding: one of :data:`COLOUR_ENCODINGS`.
        step: bytes of one row; 0 for rows without padding.
        is_bigendian: byte order of the 16-bit encodings.

    Raises:
        ImageError: the encoding is unknown, the image has no pixels, or the data is shorter than the size needs.
    """
    if encoding not in _COLOUR:
        raise ImageError(
            f"image encoding {encoding!r} is not a colour image; expected one of "
            f"{', '.join(COLOUR_ENCODINGS)}"
        )
    size, channels, _ = _COLOUR[encoding]
    if encoding.startswith(("yuv", "uyvy", "yuyv")) and width % 2:
        raise ImageError(
            f"{encoding} image {width} pixels wide; pixels come in pairs, expected an even width"
        )
    rows = _rows(data, height, width, encoding, size, channels, step, is_bigendian)
    samples = rows.reshape(height, width, channels) if channels > 1 else rows
    pixels = _convert(samples, encoding)
    return pixels if pixels.flags.writeable else pixels.copy()  # PyTorch wants writable memory


def _convert(samples: NDArray[Any], encoding: str) -> NDArray[np.uint8]:
    """Samples [H, W] or [H, W, C] to RGB uint8 [H, W, 3]; those of ``rgb8`` are returned as they are."""
    size, _, code = _COLOUR[encoding]
    if code is None and size == 1:
        return np.asarray(samples, np.uint8)
    bridge = find_bridge().convert
    if bridge is not None:
        converted = bridge(samples, encoding)
        if converted is not None:
            return np.asarray(converted, np.uint8)
    if code is not None:
        samples = np.asarray(cv2.cvtColor(np.ascontiguousarray(samples), code), samples.dtype)
    if size == 2:
        samples = np.asarray(cv2.convertScaleAbs(samples, alpha=255 / 65535))
    return np.asarray(samples, np.uint8)


def to_depth_m(
    data: Bytes,
    height: int,
    width: int,
    encoding: str,
    step: int = 0,
    is_bigendian: bool = False,
    depth_scale: float = 0.001,
) -> NDArray[np.float32]:
    """Convert the data of a depth image to metres, float32 [height, width], NaN where not measured (REP 118).

    Args:
        data: bytes of the message.
        height: rows of the image.
        width: columns of the image.
        encoding: ``16UC1`` or ``mono16`` (times ``depth_scale``, 0 is "not measured"), or ``32FC1`` (metres).
        step: bytes of one row; 0 for rows without padding.
        is_bigendian: byte order.
        depth_scale: metres of one step of a 16-bit image.

    Raises:
        ImageError: see :func:`to_rgb`.
    """
    if encoding not in _DEPTH:
        raise ImageError(
            f"image encoding {encoding!r} is not a depth image; expected 16UC1 (mm) or 32FC1 (m)"
        )
    raw = _rows(data, height, width, encoding, _DEPTH[encoding], 1, step, is_bigendian)
    depth = raw.astype(np.float32)
    if _DEPTH[encoding] == 2:
        depth *= depth_scale
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return depth


def _rows(
    data: Bytes,
    height: int,
    width: int,
    encoding: str,
    size: int,
    channels: int,
    step: int,
    is_bigendian: bool,
) -> NDArray:  # type: ignore[type-arg]
    """Samples [height, width * channels] in the machine's byte order, without the padding of rows."""
    if height <= 0 or width <= 0:
        raise ImageError(f"image of {width}x{height} pixels; expected at least one")
    line = width * channels * size
    step = step or line
    raw = np.frombuffer(data, np.uint8)
    if step < line or raw.size < step * (height - 1) + line:
        raise ImageError(
            f"{encoding} image of {width}x{height} pixels with step {step} and {raw.size} bytes; "
            f"expected a step of at least {line} and {max(step, line) * height} bytes"
        )
    if raw.size < step * height:  # the last row may come without its padding
        raw = np.concatenate([raw, np.zeros(step * height - raw.size, np.uint8)])
    rows = raw[: step * height].reshape(height, step)[:, :line]
    if size == 1:
        return rows
    kind = {2: "u2", 4: "f4"}[size]
    order = ">" if is_bigendian else "<"
    values = np.ascontiguousarray(rows).view(order + kind)
    return values.astype(kind, copy=False)
