"""Whatever ends a command early, it says one line or nothing, never a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.paths import ROOT

from ovps_core.cli import COMMANDS, main

TABLE = ROOT / "docs" / "images" / "table.jpg"
COMMAND = [sys.executable, "-m", "ovps_core"]


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_fault(closed: str) -> None:
    command = f"{sys.executable} -m ovps_core models {closed}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0 and not ended.stderr
    assert bool(ended.stdout) == (closed == "2>&-")


@pytest.mark.parametrize(
    "words",
    [["models", "--words"], ["segment", str(TABLE), "knife", "--json", "--backend", "onnxruntime"]],
)
def test_a_closed_pipe_ends_a_command_silently(words: list[str]) -> None:
    with subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize(
    ("sent", "seconds", "status", "reason"),
    [
        (signal.SIGINT, 0.0, 130, "interrupted"),
        (signal.SIGINT, 0.2, 130, "interrupted"),
        (signal.SIGINT, 0.6, 130, "interrupted"),
        (signal.SIGTERM, 0.0, 143, "terminated"),
        (signal.SIGTERM, 0.6, 143, "terminated"),
        (signal.SIGHUP, 0.6, 129, "the terminal is gone"),
    ],
)
def test_a_signal_in_the_first_seconds_ends_with_one_line(
    sent: signal.Signals, seconds: float, status: int, reason: str
) -> None:
    words = ["segment", str(TABLE), "knife", "--backend", "torch"]
    with subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),  # nohup may run these tests
    ) as process:
        _wait_until_loaded(process.pid, "numpy")
        time.sleep(seconds)
        process.send_signal(sent)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == status
    assert said == f"ovps segment: {reason}\n"


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:0"])
def test_a_device_that_is_not_there_is_named(device: str, capsys) -> None:
    for backend in ("auto", "torch", "openvino"):
        words = ["segment", str(TABLE), "knife", "--device", device, "--backend", backend]
        assert main(words) == 1
        said = capsys.readouterr().err
        assert f"device {device!r}" in said and said.count("\n") == 1


def test_a_model_in_the_home_folder_is_found(
    toy_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("HOME", str(toy_weights.parent))
    model = ["--model", f"~/{toy_weights.name}", "--backend", "torch"]
    assert main(["segment", str(TABLE), "knife", *model]) == 0


@pytest.mark.parametrize("words", [*COMMANDS, "bag annotate"])
def test_help_has_no_default_of_none(words: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main([*words.split(), "--help"])
    assert "default: None" not in capsys.readouterr().out


def test_the_command_alone_prints_its_help(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0 and "positional arguments" in capsys.readouterr().out


def _wait_until_loaded(process_id: int, library: str) -> None:
    """Wait until the process has the library in memory: Python itself may take seconds to start."""
    deadline = time.monotonic() + 60
    while library not in Path(f"/proc/{process_id}/maps").read_text():
        assert time.monotonic() < deadline, f"{library} is not loaded after 60 s"
        time.sleep(0.01)
