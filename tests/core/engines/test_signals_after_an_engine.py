"""A program that has dropped an engine can still be interrupted."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed (extra `openvino`)")

# OpenVINO replaces the stack of signal handlers on processors with AMX; elsewhere this passes in any case
PROGRAM = """
import gc, signal, threading
import numpy as np
from ovps_core import PartSegmenter

segmenters = [PartSegmenter.from_pretrained(backend="openvino")]
segmenters[0].segment(np.zeros((48, 64, 3), np.uint8), ["mug handle"])

def drop():
    segmenters.clear()
    gc.collect()

thread = threading.Thread(target=drop)
thread.start()
thread.join()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_after_another_thread_has_dropped_the_engine() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, f"{run.returncode}: {run.stderr}"
    assert run.stdout.endswith("interrupted\n")
