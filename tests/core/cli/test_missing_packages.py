"""A program whose packages are not installed says so in one line, before its own imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from helpers.paths import ROOT


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("training.train", 'pip install ".[train]"'),
        ("training.compact.build_release", 'pip install ".[train]"'),
        ("ovps_ros.node", "docs/robot.md"),
        ("ovps_ros.tools.demo", "docs/robot.md"),
    ],
)
def test_python_m_without_packages_is_one_line(module: str, message: str) -> None:
    words = [sys.executable, "-S", "-m", module]  # -S: without the installed packages
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and message in done.stderr


def test_threads_of_pytorch_wait_passively_unless_the_user_chose() -> None:
    script = "import os, ovps_ros.node; print(os.environ['OMP_WAIT_POLICY'])"
    for chosen, expected in ({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"):
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | chosen
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == expected, done.stderr


def test_reading_messages_changes_nothing_in_a_program() -> None:
    script = (
        "import os; before = dict(os.environ); import ovps_ros.msg; assert os.environ == before"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
