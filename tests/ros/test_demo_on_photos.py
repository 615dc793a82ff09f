"""The demo with a folder of photos in place of the simulated camera."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.paths import ROOT
from PIL import Image, ImageSequence

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")
pytest.importorskip("rosbags")

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def demo(photos: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Run it and wait."""
    command = [
        sys.executable,
        "-m",
        "ovps_ros.tools.demo",
        "--photo",
        str(photos),
        "--out",
        str(out),
    ]
    return subprocess.run([*command, "--seconds", "2"], cwd=ROOT, capture_output=True, text=True)


def test_every_photo_is_shown_in_its_own_shape(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name, shape, colour in (("wide.jpg", (200, 640, 3), 200), ("tall.PNG", (400, 200, 3), 90)):
        cv2.imwrite(str(tmp_path / "photos" / name), np.full(shape, colour, np.uint8))
    done = demo(tmp_path / "photos", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "2 pictures" in done.stderr and "IoU" not in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("demo.gif", "demo.png", "masks", "report.txt")
    }
    with Image.open(tmp_path / "out" / "demo.gif") as film:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]
    edges = {(int(f[180, 10, 0]) > 50, int(f[350, 240, 0]) > 50) for f in frames}
    assert edges == {(True, False), (False, True)}  # black beside the tall, below the wide


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    done = demo(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert f"no pictures in {tmp_path}" in done.stderr and "Traceback" not in done.stderr
