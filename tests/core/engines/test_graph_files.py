"""Graphs beside the weights of a user's own model answer as its network does, while they fit the weights."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from helpers.toy_models import write_toy

from ovps_core.checkpoints.file import ModelFile
from ovps_core.cli import main
from ovps_core.engines import graph_files, subgraphs
from ovps_core.engines.exported import ExportedEngine, find_graphs
from ovps_core.errors import OutputError
from ovps_core.segmenter import PartSegmenter

pytest.importorskip("onnxscript", reason="pip install 'ovps[onnx]'")
QUERIES = ["knife handle", "mug rim"]


def test_an_exported_model_answers_from_its_graphs(tmp_path: Path, capsys) -> None:
    weights = write_toy("compact", tmp_path / "toy.safetensors")
    robot = tmp_path / "robot"
    assert main(["export", str(weights), "--to", "graphs", "--out", str(robot)]) == 0
    assert str(robot / "toy.safetensors") in capsys.readouterr().out
    there = PartSegmenter.from_pretrained(robot / "toy.safetensors", backend="onnxruntime")
    assert isinstance(there.engine, ExportedEngine)
    here = PartSegmenter.from_pretrained(weights, backend="torch")
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    found, expected = (each.probabilities(image, QUERIES) for each in (there, here))
    np.testing.assert_allclose(found, expected, atol=0.01)

    assert find_graphs(ModelFile(robot / "toy.safetensors")) == robot / "toy.graphs"
    encoder = robot / "toy.graphs/encoder.onnx"
    encoder.write_bytes(encoder.read_bytes()[:-1])
    assert find_graphs(ModelFile(robot / "toy.safetensors")) is None


def test_a_model_of_any_words_is_refused(tmp_path: Path, capsys) -> None:
    weights = write_toy("clipseg", tmp_path / "words.safetensors")
    assert main(["export", str(weights), "--to", "graphs", "--out", str(tmp_path / "robot")]) == 1
    assert "needs PyTorch on the robot too" in capsys.readouterr().err


@pytest.mark.parametrize("failing", ["copyfile", "export"])
def test_a_full_disk_is_named_and_leaves_what_was_there(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "elsewhere")

    if failing == "copyfile":
        monkeypatch.setattr(graph_files.shutil, "copyfile", full)
    else:
        monkeypatch.setattr(subgraphs, "_write", full)
    weights = write_toy("compact", tmp_path / "toy.safetensors")
    robot = tmp_path / "robot"
    (robot / "toy.graphs").mkdir(parents=True)
    (robot / "toy.graphs" / "earlier.onnx").write_bytes(b"earlier")
    assert main(["export", str(weights), "--to", "graphs", "--out", str(robot)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot write {robot}" in line and "No space left" in line
    assert [path.name for path in robot.rglob("*")] == ["toy.graphs", "earlier.onnx"]


def test_a_full_disk_is_no_fault_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("Failed to save the model") from error

    monkeypatch.setattr(subgraphs, "_write", full)
    model = ModelFile(write_toy("compact", tmp_path / "toy.safetensors")).model
    path = tmp_path / "toy.onnx"
    with pytest.raises(OutputError, match=r"cannot write .*toy\.onnx: No space left on device"):
        subgraphs.export_onnx(model, path)
