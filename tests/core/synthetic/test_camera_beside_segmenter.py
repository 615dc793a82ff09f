"""The simulated camera and the segmenter work in one script, in both orders."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers.paths import ROOT

pytest.importorskip("mujoco")
CAMERA = "frame = LiveScene(['knife', 'mug'], seed=3).frame(t=0.5)"
MODEL = "segmenter = PartSegmenter.from_pretrained('ovps-tiny', backend='torch')"
IMPORT_CAMERA = "from ovps_core.synthetic.live import LiveScene"
IMPORT_MODEL = "from ovps_core import PartSegmenter"


@pytest.mark.slow
@pytest.mark.parametrize(
    "lines",
    [
        [IMPORT_CAMERA, CAMERA, IMPORT_MODEL, MODEL],
        [IMPORT_MODEL, MODEL, IMPORT_CAMERA, CAMERA],
    ],
    ids=["camera first", "model first"],
)
def test_camera_and_segmenter_in_one_script(lines: list[str]) -> None:
    script = "\n".join([*lines, "assert segmenter.segment(frame.rgb, 'knife handle').queries"])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    if "Off-screen OpenGL" in done.stderr or "off-screen OpenGL" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
