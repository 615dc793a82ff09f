"""Every program reads a picture file the same way: upright, 8 bits, three channels, or refused in one line."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from helpers.paths import ROOT
from PIL import Image

from ovps_core.errors import ImageError, OutputError
from ovps_core.structures.image_files import (
    image_size,
    is_stored_sideways,
    load_image,
    load_labels,
    save_image,
)

UPRIGHT = np.zeros((40, 60, 3), np.uint8)
UPRIGHT[:20, :30] = (200, 40, 40)
UPRIGHT[20:, 30:] = (40, 40, 200)
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""Stored pixels of an upright picture for each EXIF orientation."""


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_pictures_are_turned_upright(tmp_path, turn, suffix):
    path = tmp_path / f"a.{suffix}"
    stored = Image.fromarray(np.ascontiguousarray(TURNS[turn](UPRIGHT)))
    exif = Image.Exif()
    exif[0x0112] = turn
    stored.save(path, exif=exif.tobytes(), quality=100)
    assert np.abs(load_image(path).astype(int) - UPRIGHT).mean() < 6
    assert image_size(path) == (40, 60) and is_stored_sideways(path) == (
        turn > 4 and suffix != "tiff"
    )


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "YCbCr", "1", "PA"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    if mode == "YCbCr":
        pytest.importorskip(
            "PIL", minversion="13", reason="earlier ones cannot read the TIFF they write"
        )
    grey = np.full((40, 60, 3), 200, np.uint8)
    path = tmp_path / "a.tiff" if mode in ("CMYK", "YCbCr") else tmp_path / "a.png"
    if mode == "PA":
        path = tmp_path / "a.webp"
        Image.fromarray(grey).convert("P").convert("RGBA").save(path, lossless=True)
    else:
        Image.fromarray(grey).convert(mode).save(path)
    image = load_image(path)
    assert image.shape == (40, 60, 3) and image.dtype == np.uint8
    assert abs(float(image.mean()) - 200) < 10


def test_sixteen_bits_are_divided_by_256_like_opencv(tmp_path):
    values = np.linspace(0, 65535, 2400).reshape(40, 60).astype(np.uint16)
    for name in ("a.png", "a.tiff"):
        cv2.imwrite(str(tmp_path / name), values)
        np.testing.assert_array_equal(load_image(tmp_path / name)[..., 0], values >> 8)


def test_content_in_memory_is_read_like_a_file(tmp_path):
    save_image(tmp_path / "a.png", UPRIGHT)
    content = (tmp_path / "a.png").read_bytes()
    np.testing.assert_array_equal(load_image(content), UPRIGHT)
    assert image_size(content) == (40, 60)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_file_is_refused(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    save_image(path, noise)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ImageError, match=rf"a\.{suffix} cannot be read as an image"):
        load_image(path)


def test_other_files_are_refused_in_one_line(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>not found</html>")
    cv2.imwrite(str(tmp_path / "float.tiff"), np.zeros((4, 4), np.float32))
    for name in ("a.jpg", "float.tiff", "gone.jpg", "."):
        with pytest.raises(ImageError) as caught:
            load_image(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_photograph_of_a_phone_is_read_and_larger_ones_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "phone.png"
    Image.new("L", (16000, 12000)).save(path)
    assert load_image(path).shape == (12000, 16000, 3)
    assert Image.MAX_IMAGE_PIXELS is not None
    monkeypatch.setattr("ovps_core.structures.image_files.MAX_PIXELS", 10**8)
    with pytest.raises(ImageError, match="16000x12000 pixels; expected at most"):
        image_size(path)


def test_label_maps_keep_their_values(tmp_path):
    values = np.arange(2400).reshape(40, 60)
    for name, dtype in (("8.png", np.uint8), ("16.png", np.uint16)):
        labels = values.astype(dtype)
        cv2.imwrite(str(tmp_path / name), labels)
        np.testing.assert_array_equal(load_labels(tmp_path / name), labels)
    Image.fromarray(UPRIGHT).save(tmp_path / "rgb.png")
    with pytest.raises(ImageError, match="one channel"):
        load_labels(tmp_path / "rgb.png")


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "folder.png", tmp_path / "a.xyz"):
        with pytest.raises(OutputError, match=str(path)):
            save_image(path, UPRIGHT)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_every_program_reads_picture_files_with_this_reader() -> None:
    """Messages and shards hold pictures that no camera turned; they are decoded in memory."""
    opens = re.compile(r"cv2\.imread\(|Image\.open\(|imageio")
    folders = ("ovps_core", "ovps_ros", "training", "examples")
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if opens.search(path.read_text("utf-8"))
    }
    assert found == {"ovps_core/structures/image_files.py", "ovps_core/ros_io/compressed.py"}
