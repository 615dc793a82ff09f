"""The table of subcommands: what each imports, and what is said where a part is not installed."""

from __future__ import annotations

import argparse
import subprocess
import sys
import types
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.toy_models import write_toy

from ovps_core.cli import COMMANDS, main, plugins
from ovps_core.segmenter import PartSegmenter

Register = Callable[..., None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Replaces the installed entry points by (group, name, module), ..."""

    def entry_points(*rows: tuple[str, str, str]) -> None:
        found = EntryPoints(EntryPoint(name, value, group) for group, name, value in rows)
        monkeypatch.setattr(plugins, "entry_points", found.select)

    return entry_points


def fake_command(monkeypatch: pytest.MonkeyPatch, name: str) -> list[argparse.Namespace]:
    """A module of a command with one option; returns the list of its calls."""
    calls: list[argparse.Namespace] = []
    module = types.ModuleType(name)
    module.add_arguments = lambda parser: parser.add_argument("--rate", type=int)  # type: ignore[attr-defined]
    module.run = lambda args: calls.append(args) or 7  # type: ignore[attr-defined, func-returns-value]
    monkeypatch.setitem(sys.modules, name, module)
    return calls


def test_every_command_has_a_file_and_its_file_is_a_command() -> None:
    folder = ROOT / "ovps_core" / "cli"
    shared = {"__init__", "options", "output", "plugins", "pictures", "segment_report"}
    shared |= {"evaluate_objects", "evaluate_pictures", "evaluate_benchmark", "evaluate_phrases"}
    shared |= {"annotate_boxes", "annotate_frames"}
    assert {command.module for command in COMMANDS.values()} == {
        path.stem for path in folder.glob("*.py")
    } - shared


def test_training_and_ros_are_found_by_their_entry_points(
    monkeypatch: pytest.MonkeyPatch, register: Register
) -> None:
    calls = fake_command(monkeypatch, "some_training"), fake_command(monkeypatch, "some_bench")
    register(
        ("ovps.commands", "train", "some_training"),
        ("ovps.bench", "ros", "some_bench"),
    )
    assert main(["train", "--rate", "3"]) == 7
    assert main(["bench", "ros", "--rate", "4"]) == 7
    assert [one[0].rate for one in calls] == [3, 4]


def test_where_training_or_ros_is_not_installed_the_error_says_how_to_get_it(
    register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    for rows in ((), (("ovps.commands", "train", "absent_x"), ("ovps.bench", "ros", "absent_x"))):
        register(*rows)
        assert main(["train", "recipe.yaml"]) == 1
        assert "pip install 'ovps[train]'" in capsys.readouterr().err
        assert main(["bench", "ros"]) == 1
        assert "needs ROS 2" in capsys.readouterr().err


def test_the_entry_points_of_this_checkout_name_existing_modules() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 or newer")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["entry-points"]
    assert groups["ovps.bench"] == {"ros": "ovps_ros.tools.bench"}
    assert groups["ovps.commands"] == {"data": "training.data_command", "train": "training.train"}
    for module in (module for group in groups.values() for module in group.values()):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file()


def test_no_help_imports_pytorch() -> None:
    """One process makes the parsers of all commands, those of training and of ROS included."""
    code = (
        "import sys; from ovps_core.cli import COMMANDS, parser; parser(*COMMANDS); "
        "print(*sorted({'torch', 'lightning', 'matplotlib', 'openvino'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == ""


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m ovps_core models --words | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stderr == "" and done.stdout.strip() in ("0", "141")


def test_a_call_with_a_built_engine_imports_neither_training_frameworks_nor_other_families(
    tmp_path: Path,
) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    weights = write_toy("compact", tmp_path / "toy.safetensors")
    PartSegmenter.from_pretrained(weights, backend="openvino").warm_up()
    words = ["segment", str(ROOT / "docs" / "images" / "table.jpg"), "knife handle"]
    code = (
        "import sys; from ovps_core.cli import main; status = main(sys.argv[1:]); "
        "print(status, *sorted({'timm', 'torchvision', 'open_clip', 'torch._dynamo', 'scipy', "
        "'pycocotools', 'networkx', 'nncf', 'transformers'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *words, "--model", str(weights), "--backend", "openvino"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "0" and "building" not in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["bag", "extract", "old", "--out", "new", "--every", "0"], "--every: 0 is not a number"),
        (["bag", "extract", "old", "--out", "new", "--slop", "nan"], "--slop: nan is not a number"),
        (["bag", "extract", "old", "--out", "new", "--slop", "-1"], "--slop: -1 is not a number"),
        (["render", "--out", "new", "--count", "0"], "--count: 0 is not a number"),
        (["segment", "a.png", "mug", "--min-area", "-5"], "--min-area: -5 is not a number"),
        (["segment", "a.png", "mug", "--min-area", "2.5"], "--min-area: invalid number"),
        (["bench", "--repeats", "0"], "--repeats: 0 is not a number"),
    ],
)
def test_a_number_that_cannot_be_is_refused_before_anything_runs(
    command: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2 and said in capsys.readouterr().err
