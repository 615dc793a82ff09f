"""`ovps completion bash` in a real bash: what Tab offers, and that it costs `ovps --help` nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

pytest.importorskip("shtab", reason="the extra completion is not installed")
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    command = [sys.executable, "-m", "ovps_core", "completion", "bash"]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, check=True)
    path = tmp_path_factory.mktemp("completion") / "ovps"
    path.write_text(done.stdout)
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ovps seg", "segment"),
        ("ovps bag an", "annotate"),
        ("ovps segment --mas", "--mask-threshold --masks"),
        ("ovps segment docs/images/tab", "docs/images/table.jpg"),
        ("ovps completion b", "bash"),
    ],
)
def test_tab_offers_what_can_follow(script: Path, words: str, offered: str) -> None:
    press_tab = (
        f"source {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        "$(complete -p ovps | sed 's/.*-F //; s/ .*//') ovps; echo ${COMPREPLY[@]} | tr ' ' '\\n' | sort"
    )
    done = subprocess.run(["bash", "-c", press_tab], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == offered.split(), done.stderr


def test_help_imports_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "ovps_core", "--help"]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, check=True)
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {"numpy", "torch", "cv2", "yaml", "shtab", "scipy"}
