"""The packaged model answers where PyTorch is not installed: on the command line, in the node, on recordings."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT

from ovps_core.checkpoints import find_weights
from ovps_core.checkpoints.file import ModelFile
from ovps_core.cli import COMMANDS
from ovps_core.engines.exported import find_graphs
from ovps_core.structures.image_files import load_image

WITHOUT_PYTORCH = Path(__file__).with_name("without_pytorch.py")
TABLE = ROOT / "docs/images/table.jpg"


def start(*words: str) -> list[str]:
    return [sys.executable, str(WITHOUT_PYTORCH), *words]


def environment() -> dict[str, str]:
    """Imports come from this checkout."""
    search = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search))}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        start(*words), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120
    )


def test_the_packaged_graphs_are_of_the_packaged_weights() -> None:
    """`ovps export ovps-tiny --to graphs --out ovps_core/weights` makes them again."""
    assert find_graphs(ModelFile(find_weights("ovps-tiny"))) is not None


def test_the_command_line_answers() -> None:
    done = run("ovps_core", "segment", str(TABLE), "knife handle", "mug handle", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {part["query"]["text"] for part in found["parts"]} == {"knife handle", "mug handle"}


def test_a_model_that_needs_pytorch_says_what_to_install() -> None:
    segment = ["segment", str(TABLE), "knife handle"]
    for words in (
        [*segment, "--model", "clipseg-rd64-refined"],
        [*segment, "--backend", "torch"],
        ["export", "ovps-tiny"],
    ):
        done = run("ovps_core", *words)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        assert 'pip install "ovps[torch]"' in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_its_help_or_what_to_install(command: str) -> None:
    done = run("ovps_core", command, "--help")
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.stderr.count("\n") == 1 and "pip install" in done.stderr, done.stderr


@pytest.mark.parametrize("words", [("models",), ("completion", "bash"), ("annotate", "--help")])
def test_commands_that_run_no_model_need_no_pytorch(words: tuple[str, ...]) -> None:
    if words[0] == "completion":
        pytest.importorskip("shtab", reason="the extra completion is not installed")
    done = run("ovps_core", *words)
    assert done.returncode == 0, done.stderr
    assert "segment" in done.stdout or "frames" in done.stdout or "ovps-tiny" in done.stdout


def test_pictures_of_a_folder_are_annotated(tmp_path: Path) -> None:
    words = ["annotate", "frames", str(TABLE), "--queries", "mug rim, gearbox", "--out"]
    done = run("ovps_core", *words, str(tmp_path / "set"))
    assert done.returncode == 1, "one phrase is refused"
    assert "'gearbox' is not looked for" in done.stderr and "Traceback" not in done.stderr
    assert json.loads((tmp_path / "set/annotations.json").read_text())["annotations"]


def test_pictures_are_evaluated() -> None:
    done = run("ovps_core", "evaluate", "household", "--limit", "2")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^all +\d+ +\d+ +\d+\.\d\d ", done.stdout, re.MULTILINE)


def test_graphs_answer_as_the_network_does() -> None:
    pytest.importorskip("torch")
    from ovps_core.segmenter import PartSegmenter
    from ovps_core.structures.masks import mask_iou

    queries = ["knife handle", "rim of the mug", "mug handle", "pan"]
    network = PartSegmenter.from_pretrained(backend="torch").segment(TABLE, queries)
    for backend in ("onnxruntime", "openvino"):
        pytest.importorskip(backend)
        graphs = PartSegmenter.from_pretrained(backend=backend).segment(TABLE, queries)
        for query in queries:
            assert mask_iou(graphs.mask_of(query), network.mask_of(query)) > 0.99


@pytest.mark.ros
@pytest.mark.usefixtures("own_ros_domain")
def test_the_node_answers() -> None:
    pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")
    from helpers.robot import NODE_STARTS, Robot

    arguments = ["--ros-args", "-p", "max_age:=5.0"]
    node = subprocess.Popen(start("ovps_ros.node", *arguments), env=environment())
    try:
        robot = Robot("torchless")
        robot.spin_until(lambda: robot.images.get_subscription_count(), NODE_STARTS)
        robot.ask("knife handle")
        picture = np.ascontiguousarray(load_image(TABLE))
        assert [part.query.text for part in robot.answer(picture).parts] == ["knife handle"]
        robot.close()
    finally:
        node.send_signal(signal.SIGINT)
        assert node.wait(20) == 0
