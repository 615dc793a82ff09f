"""Workers that are killed, as by a machine that runs out of memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from ovps_core.segmenter import PartSegmenter
from ovps_core.synthetic.settings import RenderSettings


def open_and_die_once(model: str, flag: str) -> PartSegmenter:
    """Open a model; the first process that does is killed, and leaves a file."""
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return PartSegmenter.from_pretrained(model, backend="torch")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


def die_at_the_second_shard(task: tuple[RenderSettings, str, int]) -> int:
    """Write an empty folder for a shard of rendered scenes; at the second one the process is killed."""
    _, out, shard = task
    if shard == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    (Path(out) / f"shard_{shard:05d}").mkdir()
    return 64
