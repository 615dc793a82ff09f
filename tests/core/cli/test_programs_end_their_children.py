"""Programs that a command has started end with it, whatever ends the command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.paths import ROOT

LABEL_STUDIO = """#!/bin/sh
echo $$ > "$STARTED"
exec sleep 120
"""
BUSY = """
import sys
from ovps_core.profiling.busy import _busy_processes

with _busy_processes(1) as processes:
    print(processes[0].pid, flush=True)
    sys.stdin.read()
"""
MEANWHILE = """
import os, signal, time

signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test in the background ignores it
print(os.getpid(), flush=True)
time.sleep(120)
"""
AFTERNOON = f"""
import sys, time
from scripts import afternoon

afternoon.unwind_on_sigterm()
with afternoon.started([sys.executable, "-c", {MEANWHILE!r}]):
    time.sleep(120)
"""


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_label_studio_ends_with_its_command(
    tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    if shutil.which("label-studio", path=str(Path(sys.executable).parent)):
        pytest.skip("the stand-in would not be found")
    program, started = tmp_path / "label-studio", tmp_path / "started"
    program.write_text(LABEL_STUDIO)
    program.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    words = ["label", "serve", "--data-dir", str(tmp_path / "data"), "--port", "9"]
    with subprocess.Popen(
        [sys.executable, "-m", "ovps_core", *words],
        env={**os.environ, "PATH": path, "STARTED": str(started)},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),  # nohup may run these tests
    ) as process:
        deadline = time.monotonic() + 60
        while not (started.is_file() and started.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(2)  # it has looked at the server
        process.send_signal(sent)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == status and len(said.splitlines()) == 1
    assert not _lives(int(started.read_text()))


def test_the_programs_of_an_afternoon_end_with_it_at_sigterm() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", AFTERNOON], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        meanwhile = int(process.stdout.readline())
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not _lives(meanwhile)


def test_busy_processes_end_with_a_killed_benchmark() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        busy = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 20
    while _lives(busy) and time.monotonic() < deadline:
        time.sleep(0.05)
    lives = _lives(busy)
    if lives:
        os.kill(busy, signal.SIGKILL)
    assert not lives


def test_a_command_under_nohup_survives_a_hangup() -> None:
    words = ["segment", str(ROOT / "docs" / "images" / "table.jpg"), "knife"]
    command = ["nohup", sys.executable, "-m", "ovps_core", *words, "--backend", "torch"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while "numpy" not in Path(f"/proc/{process.pid}/maps").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=120)
    assert process.returncode == 0


def _lives(process_id: int) -> bool:
    """Whether the process runs: one that has ended may wait for its parent."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
