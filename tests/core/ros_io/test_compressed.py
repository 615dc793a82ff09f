"""Compressed images as image_transport and its plugins write them, and pictures that would fill the memory."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.paths import ROOT

from ovps_core.errors import ImageError
from ovps_core.ros_io.compressed import compressed_depth_to_m, compressed_to_rgb
from ovps_core.ros_io.encodings import to_rgb

HEIGHT, WIDTH = 24, 32


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Smooth, so that JPEG and mosaics lose little; red, green and blue differ."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [200 - 2 * down, 90 + 2 * across, 20 + down + across]
    return np.stack(planes, -1).astype(np.uint8)


def encode(suffix: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def mosaic(rgb: np.ndarray) -> np.ndarray:
    """Mosaic of the pattern RGGB."""
    pixels = rgb[..., 1].copy()
    pixels[::2, ::2], pixels[1::2, 1::2] = rgb[::2, ::2, 0], rgb[1::2, 1::2, 2]
    return pixels


@pytest.mark.parametrize(
    ("format_name", "suffix", "channels"),
    [
        ("rgb8; jpeg compressed bgr8", ".jpg", "bgr"),
        ("jpeg", ".jpg", "bgr"),
        ("rgb8; png compressed bgr8", ".png", "bgr"),
        ("rgb16; png compressed bgr16", ".png", "bgr16"),
        ("rgb8;jpeg compressed bgr8", ".jpg", "bgr"),
        ("rgb8; tiff compressed ", ".tiff", "rgb"),  # the plugin does not turn the channels
        ("bgr8; tiff compressed ", ".tiff", "bgr"),
        ("bgr8; webp compressed", ".webp", "bgr"),
        ("", ".png", "bgr"),
    ],
)
def test_colours_are_those_of_the_raw_image(
    picture: np.ndarray, format_name: str, suffix: str, channels: str
) -> None:
    pixels = picture if channels == "rgb" else picture[..., ::-1]
    if channels.endswith("16"):
        pixels = pixels.astype(np.uint16) * 257
    rgb = compressed_to_rgb(encode(suffix, pixels), format_name)
    assert np.abs(rgb.astype(int) - picture).mean() < (4 if suffix in (".jpg", ".webp") else 0.6)


@pytest.mark.parametrize(
    ("format_name", "suffix", "wide"),
    [
        ("bayer_rggb8; png compressed ", ".png", 1),
        ("bayer_rggb8; jpeg compressed ", ".jpg", 1),
        ("bayer_rggb16; png compressed ", ".png", 257),
    ],
)
def test_mosaics_are_interpolated(
    picture: np.ndarray, format_name: str, suffix: str, wide: int
) -> None:
    raw = mosaic(picture)
    pixels = raw.astype(np.uint16) * np.uint16(wide) if wide > 1 else raw
    rgb = compressed_to_rgb(encode(suffix, pixels), format_name)
    expected = to_rgb(raw.tobytes(), HEIGHT, WIDTH, "bayer_rggb8")
    assert np.abs(rgb.astype(int) - expected).mean() < (12 if suffix == ".jpg" else 0.6)
    coloured = compressed_to_rgb(
        encode(".png", picture[..., ::-1]), "bayer_rggb8; png compressed bgr8"
    )
    np.testing.assert_array_equal(coloured, picture)


@pytest.mark.parametrize(
    ("data", "format_name"),
    [
        (b"", "jpeg"),
        (b"\xff\xd8 not a picture", "jpeg"),
        (b"\x00\x00\x00\x01\x67\x42\x00\x0a" + bytes(400), "h264"),
    ],
)
def test_what_is_not_a_picture_is_said(data: bytes, format_name: str) -> None:
    with pytest.raises(ImageError, match=f"format '{format_name}' cannot be read; expected JPEG"):
        compressed_to_rgb(data, format_name)


def test_depth_as_colour_and_colour_as_depth_are_refused(picture: np.ndarray) -> None:
    png = encode(".png", picture)
    with pytest.raises(ImageError, match="is a depth image"):
        compressed_to_rgb(bytes(12) + png, "16UC1; compressedDepth png")
    grey = encode(".png", picture[..., 0].astype(np.uint16))
    for encoding in ("16UC1", "32FC1"):  # as refused as the raw image
        with pytest.raises(ImageError, match="is a depth image"):
            compressed_to_rgb(grey, f"{encoding}; png compressed ")
    assert compressed_to_rgb(encode(".png", picture[..., 0]), "8UC1; png compressed ").any()
    assert compressed_to_rgb(grey, "mono16; png compressed ").shape == picture.shape
    with pytest.raises(ImageError, match="expected a depth image"):
        compressed_depth_to_m(png, "rgb8; png compressed bgr8")
    with pytest.raises(ImageError, match="is not one channel of 16 bits"):
        compressed_depth_to_m(bytes(12) + png, "16UC1; compressedDepth png")


STEPS = np.array([[1000, 0, 7], [2500, 300, 65535]], np.uint16)


def encode_rvl(image: np.ndarray) -> bytes:
    """RVL written number by number, after the description in Wilson's paper."""
    nibbles: list[int] = []

    def put(number: int) -> None:
        while True:
            nibbles.append((number & 7) | (8 if number >> 3 else 0))
            number >>= 3
            if not number:
                return

    values, at, before = image.ravel().tolist(), 0, 0
    while at < len(values):
        start = at
        while at < len(values) and values[at] == 0:
            at += 1
        put(at - start)
        start = at
        while at < len(values) and values[at] != 0:
            at += 1
        put(at - start)
        for value in values[start:at]:
            step, before = value - before, value
            put(2 * step if step >= 0 else -2 * step - 1)
    nibbles += [0] * (-len(nibbles) % 8)
    words = [
        int("".join(f"{n:x}" for n in nibbles[i : i + 8]), 16) for i in range(0, len(nibbles), 8)
    ]
    return struct.pack(f"<2I{len(words)}I", image.shape[1], image.shape[0], *words)


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        (lambda image: encode(".png", image), "compressedDepth png"),
        (lambda image: encode(".png", image), "compressedDepth"),
        (encode_rvl, "compressedDepth rvl"),
    ],
)
def test_compressed_depth_of_both_kinds_becomes_metres(codec, name: str) -> None:
    metres = compressed_depth_to_m(bytes(12) + codec(STEPS), f"16UC1; {name}")
    expected = np.where(STEPS == 0, np.nan, STEPS * np.float32(0.001))
    np.testing.assert_allclose(metres, expected, rtol=1e-6)
    head = bytes(4) + np.array([1000.0, 50.0], "<f4").tobytes()
    metres = compressed_depth_to_m(head + codec(STEPS), f"32FC1; {name}")
    expected = [[1000 / 950, np.nan, np.nan], [1000 / 2450, 4.0, 1000 / 65485]]
    np.testing.assert_allclose(metres, expected, rtol=1e-6)


def test_rvl_of_the_papers_numbers() -> None:
    """By hand: 2 zeros, 1 other, +9 as 18 = 0b10_010, in nibbles 2, 1, a, 2; the rest of the word is fill."""
    data = struct.pack("<3I", 3, 1, 0x21A20000)
    depth = compressed_depth_to_m(bytes(12) + data, "16UC1; compressedDepth rvl", depth_scale=1.0)
    np.testing.assert_array_equal(depth, [[np.nan, np.nan, 9.0]])


@pytest.mark.parametrize("seed", range(5))
def test_rvl_comes_back_unchanged(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.normal(1000, 300, (48, 64)).clip(1, 65535)).astype(np.uint16)
    image[rng.random((48, 64)) < 0.3 * seed / 4] = 0
    depth = compressed_depth_to_m(
        bytes(12) + encode_rvl(image), "16UC1; compressedDepth rvl", depth_scale=1.0
    )
    np.testing.assert_array_equal(np.nan_to_num(depth), image)


@pytest.mark.parametrize("cut", [0, 4, 12, 40])
def test_damaged_rvl_is_refused(cut: int) -> None:
    image = np.random.default_rng(0).integers(0, 3000, (20, 30)).astype(np.uint16)
    with pytest.raises(ImageError, match=r"RVL|expected a depth image"):
        compressed_depth_to_m(bytes(12) + encode_rvl(image)[:cut], "16UC1; compressedDepth rvl")
    huge = struct.pack("<2I", 60_000, 60_000) + bytes(64)
    with pytest.raises(ImageError, match="60000x60000"):
        compressed_depth_to_m(bytes(12) + huge, "16UC1; compressedDepth rvl")


def test_a_small_file_of_a_huge_picture_takes_no_memory(tmp_path: Path) -> None:
    """30000x30000 pixels of one bit: a PNG of about 100 kB, 2.7 GB when decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    side = 30_000
    rows = zlib.compress(bytes((side // 8 + 1) * side), 1)
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(png)
    program = (
        "import resource, sys; from ovps_core.errors import ImageError\n"
        "from ovps_core.ros_io.compressed import compressed_depth_to_m, compressed_to_rgb\n"
        "png = open(sys.argv[1], 'rb').read()\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "for call in (lambda: compressed_to_rgb(png, 'png'),"
        " lambda: compressed_depth_to_m(bytes(12) + png, '16UC1; compressedDepth png')):\n"
        "    try: call(); print('decoded')\n"
        "    except ImageError as error: print(error)\n"
        "print((peak() - before) // 1024)\n"
    )
    call = [sys.executable, "-c", program, str(tmp_path / "huge.png")]
    lines = subprocess.check_output(call, cwd=ROOT, text=True).splitlines()
    assert all("is not decoded" in line for line in lines[:2]), lines
    assert int(lines[2]) < 100  # MiB
