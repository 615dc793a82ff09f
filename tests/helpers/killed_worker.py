"""A worker that is killed once, as by a machine that runs out of memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from ovps_core.segmenter import PartSegmenter


def open_and_die_once(model: str, flag: str) -> PartSegmenter:
    """Open a model; the first process that does is killed, and leaves a file."""
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return PartSegmenter.from_pretrained(model, backend="torch")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")
