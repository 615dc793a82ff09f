"""Graphs beside the weights of a user's own model answer as its network does, while they fit the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.toy_models import write_toy

from ovps_core.checkpoints.file import ModelFile
from ovps_core.cli import main
from ovps_core.engines.exported import ExportedEngine, find_graphs
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
