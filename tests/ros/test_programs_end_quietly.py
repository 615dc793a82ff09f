"""Ctrl-C ends every program at once and without a traceback, in every phase."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.paths import ROOT

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.robot import NODE_STARTS, Robot  # keeps what follows in a domain of its own
from ovps_ros.msg import PartQuery
from ovps_ros.srv import SetQueries

pytestmark = pytest.mark.ros
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def start(*command: str) -> subprocess.Popen[str]:
    """A program with its children in a process group, as a terminal starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )


def wait_for(program: subprocess.Popen[str], words: str) -> None:
    """Read what the program says until it says ``words``."""
    assert program.stdout is not None
    for line in program.stdout:
        if words in line:
            return
    pytest.fail(f"it ended without saying {words!r}")


def end(program: subprocess.Popen[str], signal_: int = signal.SIGINT) -> str:
    """End the group; what it still said."""
    os.killpg(program.pid, signal_)
    try:
        return program.communicate(timeout=30)[0]
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        pytest.fail(f"still runs 30 s after signal {signal_}: {program.communicate()[0]}")


@pytest.mark.parametrize("module", ["ovps_ros.node", "ovps_ros.tools.demo"])
def test_a_program_ends_quietly_while_it_starts(module: str, tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path)] if module.endswith("demo") else []
    program = start(module, *arguments)
    time.sleep(2.0)
    assert "Traceback" not in end(program)


@pytest.mark.parametrize(("signal_", "delay"), [(signal.SIGINT, 0.5), (signal.SIGTERM, 0.0)])
def test_the_node_ends_quietly_while_its_model_loads(signal_: int, delay: float) -> None:
    program = start("ovps_ros.node")
    wait_for(program, "loading")
    time.sleep(delay)
    said = end(program, signal_)
    assert "Traceback" not in said and "rror" not in said, said
    assert program.returncode == 0


def test_the_demo_ends_quietly_while_its_programs_load(tmp_path: Path) -> None:
    program = start("ovps_ros.tools.demo", "--out", str(tmp_path))
    wait_for(program, "loading")
    said = end(program)
    assert "Traceback" not in said and "rror" not in said, said
    assert program.returncode == 130


def test_the_node_ends_quietly_while_it_encodes_words(toy_weights: Path) -> None:
    program = start("ovps_ros.node", "--ros-args", "-p", f"model:={toy_weights}")
    robot = Robot("hasty")
    assert robot.set_queries.wait_for_service(NODE_STARTS)
    wait_for(program, " on ")
    texts = [f"the {i}th hasty knife handle" for i in range(3000)]
    request = SetQueries.Request(queries=[PartQuery(text=text) for text in texts])
    robot.set_queries.call_async(request)
    robot.rest(0.5)
    said = end(program)
    robot.close()
    assert "Traceback" not in said and "rror" not in said, said
    assert program.returncode == 0
