"""Every common camera encoding becomes the same RGB picture; odd or cut data is told apart."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest

from ovps_core.errors import ImageError
from ovps_core.ros_io.encodings import COLOUR_ENCODINGS, to_depth_m, to_rgb

HEIGHT, WIDTH = 12, 16
PATTERNS = {"rggb": "RG/GB", "bggr": "BG/GR", "gbrg": "GB/RG", "grbg": "GR/BG"}


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Smooth, so that chroma subsampling and demosaicing lose little."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [60 + 5 * down, 90 + 4 * across, 150 - 3 * down + 2 * across]
    return np.stack(planes, -1).astype(np.uint8)


def encode(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """The picture as a driver would send it, uint8 or uint16 [H, ...]."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    wide = np.uint16(257) if encoding.endswith("16") else np.uint8(1)
    if encoding.startswith("bayer"):
        pattern = PATTERNS[encoding[6:10]].replace("/", "")
        mosaic = np.zeros(rgb.shape[:2], np.uint8)
        for i, letter in enumerate(pattern):
            mosaic[i // 2 :: 2, i % 2 :: 2] = rgb[i // 2 :: 2, i % 2 :: 2, "RGB".index(letter)]
        return mosaic * wide
    if encoding.startswith(("yuv", "uyvy", "yuyv")):
        # Rec. 601 with headroom: the form that cameras send.
        red, green, blue = (rgb[..., c].astype(float) for c in range(3))
        y = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
        u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
        v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
        chroma = np.empty_like(y)
        chroma[:, 0::2], chroma[:, 1::2] = u[:, 0::2], v[:, 0::2]
        pair = (chroma, y) if encoding in ("yuv422", "uyvy") else (y, chroma)
        return np.stack(pair, -1).round().astype(np.uint8)
    order = {"r": [0, 1, 2], "b": [2, 1, 0]}.get(encoding[0])
    base = grey if order is None else rgb[..., order]
    if encoding[3] == "a":
        base = np.concatenate([base, np.full((*base.shape[:2], 1), 7, np.uint8)], -1)
    return base * wide


@pytest.mark.parametrize("encoding", COLOUR_ENCODINGS)
@pytest.mark.parametrize("padding", [0, 6])
def test_every_encoding_becomes_the_same_picture(
    picture: np.ndarray, encoding: str, padding: int
) -> None:
    rows = np.ascontiguousarray(encode(picture, encoding)).reshape(HEIGHT, -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    expected = picture
    if encoding in ("mono8", "mono16", "8UC1"):
        expected = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    slack = 12 if encoding.startswith(("yuv", "uyvy", "yuyv", "bayer")) else 0
    for data in (padded.tobytes(), array.array("B", padded.tobytes()), padded.ravel()):
        rgb = to_rgb(data, HEIGHT, WIDTH, encoding, padded.shape[1])
        assert rgb.dtype == np.uint8 and rgb.flags.writeable
        difference = np.abs(rgb.astype(int) - expected)[1:-1, 1:-1]
        assert difference.max() <= slack


def test_rgb8_is_not_copied(picture: np.ndarray) -> None:
    data = array.array("B", picture.tobytes())
    rgb = to_rgb(data, HEIGHT, WIDTH, "rgb8", 3 * WIDTH)
    assert np.shares_memory(rgb, np.frombuffer(data, np.uint8))


def test_byte_order_of_sixteen_bits() -> None:
    depth = np.array([[1000, 0], [2500, 300]], "<u2")
    little = to_depth_m(depth.tobytes(), 2, 2, "16UC1")
    big = to_depth_m(depth.astype(">u2").tobytes(), 2, 2, "16UC1", is_bigendian=True)
    np.testing.assert_allclose(little, [[1.0, np.nan], [2.5, 0.3]], rtol=1e-6)
    np.testing.assert_array_equal(little, big)


def test_float_depth_keeps_only_what_was_measured() -> None:
    depth = np.array([[0.5, np.inf, -1.0, 0.0, np.nan]], np.float32)
    metres = to_depth_m(depth.tobytes(), 1, 5, "32FC1")
    np.testing.assert_array_equal(metres, [[0.5, np.nan, np.nan, np.nan, np.nan]])


@pytest.mark.parametrize(
    ("size", "encoding", "step", "count", "said"),
    [
        ((4, 4), "rgb7", 12, 48, "'rgb7'.*expected one of rgb8"),
        ((4, 4), "rgb8", 12, 40, "40 bytes"),
        ((4, 4), "rgb8", 8, 48, "step 8"),
        ((0, 0), "rgb8", 0, 0, "0x0"),
        ((2, 3), "yuyv", 6, 12, "pairs"),
    ],
)
def test_what_cannot_be_read_is_said(
    size: tuple[int, int], encoding: str, step: int, count: int, said: str
) -> None:
    with pytest.raises(ImageError, match=said):
        to_rgb(bytes(count), *size, encoding, step)


def test_colour_is_not_depth() -> None:
    with pytest.raises(ImageError, match="16UC1"):
        to_depth_m(bytes(48), 4, 4, "rgb8")
