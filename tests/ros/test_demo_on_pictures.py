"""The demo with the simulated camera, with recorded frames of a depth camera and with a folder of photos."""

from __future__ import annotations

import re
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

# a busy machine renders and answers slowly
pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(900)]


def demo(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it and wait."""
    command = [sys.executable, "-m", "ovps_ros.tools.demo", "--out", str(out), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def places(out: Path) -> list[list[str]]:
    """Cells of the printed table of places."""
    report = (out / "report.txt").read_text()
    _, _, *rows = report[report.rindex("\n\n") :].strip().splitlines()
    return [re.split(r"  +", row.strip()) for row in rows]


def test_four_handles_belong_to_four_objects_in_space(tmp_path: Path) -> None:
    done = demo(tmp_path, "--seconds", "8")
    assert done.returncode == 0, done.stderr
    handles = [row for row in places(tmp_path) if "handle" in row[1]]
    assert len(handles) == len({owner for owner, *_ in handles}) == 4, done.stdout
    assert sorted(owner.split()[0] for owner, *_ in handles) == ["knife", "knife", "mug", "mug"]


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
    done = demo(tmp_path / "out", "--recorded", "--seconds", "8")
    assert done.returncode == 0, done.stderr
    assert "8 pictures" in done.stderr
    assert "mug body" in done.stdout and "mean IoU with truth" in done.stdout
    assert "place x y z" in done.stdout and "object" not in done.stdout
    found = places(tmp_path / "out")
    assert {part for part, _ in found} & {"mug rim", "mug body"}
    for _, place in found:
        x, y, z = map(float, place.split())
        assert abs(x) < 1 and abs(y) < 1 and 0.3 < z < 2.0
