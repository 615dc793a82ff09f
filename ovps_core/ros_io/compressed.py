"""Decoding of sensor_msgs/CompressedImage as image_transport and its plugins write it.

``format`` is ``ENCODING; CODEC compressed ENCODING``, such as ``rgb8; jpeg compressed bgr8``, or the codec alone.
The first encoding is that of the raw image, the last one that of the picture in the file.
"""

from __future__ import annotations

import io
import re
import warnings

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovps_core.errors import ImageError
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.ros_io.encodings import Bytes, to_rgb
from ovps_core.ros_io.rvl import decode_rvl

MAX_PIXELS = 100_000_000
"""Pixels of the largest picture that is decoded; larger than that of any camera on a robot."""

_MEASURED = re.compile(r"(16|32|64)[USF]C1")  # distances in mm or m, which are no greys
_DEPTH_HEADER = 12  # bytes: an enumeration and two floats


def compressed_to_rgb(data: Bytes, format_name: str = "") -> RgbImage:
    """Decode the data of a compressed colour image (JPEG, PNG, TIFF, WebP) to RGB uint8 [H, W, 3].

    Args:
        data: bytes of the message.
        format_name: field ``format`` of the message.

    Raises:
        ImageError: the data is not such a picture, is damaged, or has more than :data:`MAX_PIXELS`.
    """
    encoding, _, codec = (text.strip() for text in format_name.partition(";"))
    raw = np.frombuffer(data, np.uint8)
    if "compressedDepth" in codec or (codec and _MEASURED.fullmatch(encoding)):
        raise ImageError(f"format {format_name!r} is a depth image; expected a colour image")
    if encoding.startswith("bayer_") and codec:
        mosaic = _decode(raw, cv2.IMREAD_UNCHANGED, format_name)
        if mosaic.ndim == 2:  # otherwise the colours were interpolated before
            name = f"{encoding.rstrip('0123456789')}{8 * mosaic.itemsize}"
            height, width = mosaic.shape
            return to_rgb(mosaic.reshape(-1).view(np.uint8), height, width, name)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = np.asarray(_decode(raw, flags, format_name), np.uint8)
    if codec.startswith("tiff") and encoding.startswith("rgb") and "bgr" not in codec:
        return pixels  # the plugin writes these values in the order of the raw image
    return np.ascontiguousarray(pixels[..., ::-1])


def compressed_depth_to_m(
    data: Bytes, format_name: str, depth_scale: float = 0.001
) -> NDArray[np.float32]:
    """Decode a depth image of ``compressed_depth_image_transport`` to metres, float32 [H, W].

    The data is a 16-bit PNG or RVL after a header of 12 bytes: an enumeration and two floats a and b. 32-bit depth
    is stored as a / depth + b.

    Args:
        data: bytes of the message.
        format_name: field ``format`` of the message, such as "16UC1; compressedDepth png".
        depth_scale: metres of one step of a 16-bit image.

    Raises:
        ImageError: the data is not such an image, or has more than :data:`MAX_PIXELS`.
    """
    raw = np.frombuffer(data, np.uint8)
    if "compressedDepth" not in format_name or len(raw) <= _DEPTH_HEADER:
        raise ImageError(
            f"{raw.size} bytes of format {format_name!r}; expected a depth image in compressedDepth, with a "
            f"header of {_DEPTH_HEADER} bytes"
        )
    if format_name.rstrip().endswith("rvl"):
        values = decode_rvl(raw[_DEPTH_HEADER:].tobytes(), MAX_PIXELS)
    else:
        png = _decode(raw[_DEPTH_HEADER:], cv2.IMREAD_UNCHANGED, format_name)
        if png.dtype != np.uint16 or png.ndim != 2:
            raise ImageError(f"format {format_name!r}, but the PNG is not one channel of 16 bits")
        values = np.asarray(png, np.uint16)
    if not format_name.startswith("32FC1"):
        return np.where(values == 0, np.float32(np.nan), values * np.float32(depth_scale))
    a, b = (float(value) for value in raw[4:_DEPTH_HEADER].view("<f4"))
    if not (np.isfinite([a, b]).all() and a > 0):
        raise ImageError(
            f"format {format_name!r} with the quantisation {a}, {b}; expected a > 0: "
            "set the plugin's depth_max and depth_quantization"
        )
    with np.errstate(divide="ignore"):
        depth = np.asarray(a / (values.astype(np.float32) - np.float32(b)), np.float32)
    depth[(values == 0) | ~np.isfinite(depth) | (depth <= 0)] = np.nan
    return depth


def _decode(raw: NDArray[np.uint8], flags: int, format_name: str) -> NDArray[np.generic]:
    """Decode a picture after a look at its header: a small file may ask for any amount of memory."""
    unreadable = ImageError(
        f"{raw.size} bytes of format {format_name!r} cannot be read; expected JPEG, PNG, TIFF or WebP"
    )
    try:
        width, height = _picture_size(raw.tobytes())
    except Exception as error:  # Pillow raises anything at a damaged header
        raise unreadable from error
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"a compressed picture of {width}x{height} pixels in {raw.size} bytes is not decoded; "
            f"expected at most {MAX_PIXELS // 1_000_000} million pixels"
        )
    try:
        pixels = cv2.imdecode(raw, flags)
    except cv2.error as error:
        raise unreadable from error
    if pixels is None:
        raise unreadable
    return np.asarray(pixels)


def _picture_size(data: bytes) -> tuple[int, int]:
    """(width, height) from the header alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large sizes and odd tags: both are looked at here
        try:
            with Image.open(io.BytesIO(data)) as picture:
                return picture.size
        except Image.DecompressionBombError:  # it does not tell the size
            return MAX_PIXELS, 2
