"""The demo with a folder of photos, or recorded frames of a depth camera, in place of the simulated camera."""

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


def demo(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it and wait."""
    command = [sys.executable, "-m", "ovps_ros.tools.demo", "--out", str(out), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_every_photo_is_shown_in_its_own_shape(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name, shape, colour in (("wide.jpg", (200, 640, 3), 200), ("tall.PNG", (400, 200, 3), 90)):
        cv2.imwrite(str(tmp_path / "photos" / name), np.full(shape, colour, np.uint8))
    done = demo(tmp_path / "out", "--photo", str(tmp_path / "photos"), "--seconds", "2")
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
    done = demo(tmp_path / "out", "--photo", str(tmp_path), "--seconds", "2")
    assert done.returncode == 1
    assert f"no pictures in {tmp_path}" in done.stderr and "Traceback" not in done.stderr


def test_recorded_frames_come_with_depth_and_true_masks(tmp_path: Path) -> None:
    done = demo(tmp_path / "out", "--recorded", "--seconds", "12")
    assert done.returncode == 0, done.stderr
    assert "8 pictures" in done.stderr
    assert "mug body" in done.stdout and "mean IoU with truth" in done.stdout
