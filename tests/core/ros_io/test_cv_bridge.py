"""Colour images come out the same with the distribution's cv_bridge, without it, and where it is broken."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovps_core.ros_io.encodings import COLOUR_ENCODINGS, to_rgb

REPOSITORY = Path(__file__).parents[3]
ORACLE = Path(__file__).with_name("bridge_oracle.py")
SYSTEM_PYTHON = Path("/usr/bin/python3")
SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
UNKNOWN_TO_CV_BRIDGE = {"8UC1", "uyvy", "yuyv", "yuv422_yuy2"}  # as of Debian 12
SIZES = ((12, 16), (7, 9), (1, 2), (5, 4))

needs_cv_bridge = pytest.mark.skipif(
    not (SYSTEM_PACKAGES / "cv_bridge").is_dir(),
    reason="no cv_bridge of the system: apt install python3-cv-bridge",
)


def cases() -> list[dict[str, Any]]:
    """Random pictures in every encoding, odd and even sizes, with and without padding, in both byte orders."""
    random = np.random.default_rng(0)
    found = []
    for encoding in COLOUR_ENCODINGS:
        wide = 2 if encoding.endswith("16") else 1
        bytes_per_pixel = wide * {"rgb": 3, "bgr": 3}.get(encoding[:3], 1)
        if encoding[:4] in ("rgba", "bgra"):
            bytes_per_pixel = 4 * wide
        pairs = encoding.startswith(("yuv", "uyvy", "yuyv"))
        if pairs:
            bytes_per_pixel = 2
        for height, width in SIZES:
            if (pairs and width % 2) or (encoding.startswith("bayer") and min(height, width) < 3):
                continue
            for padding in (0, 10):
                for is_bigendian in (0, 1):
                    row = width * bytes_per_pixel
                    step = row + padding
                    data = random.integers(0, 256, height * step, np.uint8).tobytes()
                    found.append(
                        {
                            "encoding": encoding,
                            "height": height,
                            "width": width,
                            "step": step,
                            "is_bigendian": is_bigendian,
                            "data": data,
                            "row": row,
                        }
                    )
    return found


def own(case: dict[str, Any]) -> np.ndarray:
    return to_rgb(
        *(case[name] for name in ("data", "height", "width", "encoding", "step")),
        is_bigendian=bool(case["is_bigendian"]),
    )


@needs_cv_bridge
def test_both_paths_and_cv_bridge_itself_give_equal_pictures() -> None:
    asked = cases()
    answer = subprocess.run(
        [SYSTEM_PYTHON, ORACLE],
        input=pickle.dumps(asked),
        capture_output=True,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        check=True,
        timeout=120,
    )
    (used, problem), results = pickle.loads(answer.stdout)
    assert used and not problem
    compared = set()
    for case, (theirs, through_bridge) in zip(asked, results, strict=True):
        expected = own(case)
        for result in filter(None, (theirs, through_bridge)):
            shape, data = result
            difference = np.abs(np.frombuffer(data, np.uint8).reshape(shape).astype(int) - expected)
            assert difference.max() == 0, (case["encoding"], shape, case["is_bigendian"])
        if theirs is not None:
            compared.add(case["encoding"])
    assert set(COLOUR_ENCODINGS) - compared == UNKNOWN_TO_CV_BRIDGE


@needs_cv_bridge
@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="breaks beside NumPy 2 only")
def test_a_cv_bridge_that_crashes_is_not_used_and_the_reason_is_told() -> None:
    program = (
        f"import sys; sys.path.append({str(SYSTEM_PACKAGES)!r})\n"
        "from ovps_core.ros_io.bridge import find_bridge\n"
        "from ovps_core.ros_io.encodings import to_rgb\n"
        "print(to_rgb(bytes([1, 2, 3]), 1, 1, 'bgr8').tolist())\n"
        "print(find_bridge().convert, find_bridge().problem)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
        timeout=60,
    )
    pixels, reason = done.stdout.strip().splitlines()
    assert pixels == "[[[3, 2, 1]]]"
    assert reason.startswith("None cv_bridge is installed but")
    assert "NumPy 2" in reason and 'pip install "numpy<2"' in reason
