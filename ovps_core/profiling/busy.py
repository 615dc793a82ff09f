"""``ovps bench busy``: how much longer a frame takes while other processes use the cores."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from tabulate import tabulate

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.segmenter import PartSegmenter

_LOOP = """
import os, sys
while os.getppid() == int(sys.argv[1]):  # else the benchmark was killed
    for _ in range(1_000_000): pass
"""
_QUERIES = ["knife handle", "mug handle", "mug rim", "pan handle"]
_BLOCK = 10  # frames before the other processes start or stop
_SETTLING = 0.2  # seconds after they start or stop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps bench busy``."""
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="name of a model (see `ovps models`), or a file"
    )
    parser.add_argument(
        "--engines",
        nargs="+",
        default=["auto"],
        help="backends to compare; auto is what a robot runs",
    )
    parser.add_argument("--processes", type=int, default=1, help="number of busy processes")
    parser.add_argument("--frames", type=int, default=100, help="frames of each kind")


def run(args: argparse.Namespace) -> int:
    """Measure frames of 640x480 with four queries, in turn quiet and beside busy processes; print the table.

    The busy processes stop and go on every ten frames, so that other work on the machine slows both kinds alike.
    """
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    rows = []
    for backend in args.engines:
        segmenter = PartSegmenter.from_pretrained(args.model, backend=backend)
        segmenter.warm_up()
        queries = segmenter.encode_queries(_QUERIES)
        times: tuple[list[float], list[float]] = ([], [])
        with _busy_processes(args.processes) as processes:
            while len(times[1]) < args.frames:
                for busy in (False, True):
                    _send(processes, signal.SIGCONT if busy else signal.SIGSTOP)
                    for _ in range(_BLOCK):
                        started = time.perf_counter()
                        segmenter.segment(image, queries)
                        times[busy].append(1e3 * (time.perf_counter() - started))
        quiet, beside = (np.percentile(each, [50, 95]) for each in times)
        rows.append([segmenter.runs_on, *quiet, *beside, beside[1] / quiet[1]])
    headers = ["engine", "quiet p50 ms", "quiet p95", "busy p50", "busy p95", "p95 busy / quiet"]
    print(tabulate(rows, headers, floatfmt=(".1f",) * 5 + (".2f",)))
    return 0


@contextmanager
def _busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that use a core each, until the block ends."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            processes.append(subprocess.Popen([sys.executable, "-c", _LOOP, str(os.getpid())]))
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _send(processes: list[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        process.send_signal(number)
    time.sleep(_SETTLING)
