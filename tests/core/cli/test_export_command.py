"""`ovps export` writes graphs that others load, and that say what the model says."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.paths import ROOT
from helpers.toy_models import TOY_MODELS, toy, write_toy
from numpy.typing import NDArray

from ovps_core.cli import main
from ovps_core.engines.graphs import graph_io
from ovps_core.models.network import PartModel
from ovps_core.models.objects import ObjectModel, ObjectPredictions
from ovps_core.profiling.objects import matched

Arrays = list[NDArray]


def asked(model: PartModel, batch: int) -> tuple[torch.Tensor, ...]:
    """Pixels, names and pairs, other counts than the graph was traced with."""
    random = torch.Generator().manual_seed(0)
    names = torch.randn(7, model.spec.condition_dim, generator=random)
    index = torch.tensor([6, 0, 3, 3])
    pixels = torch.randn(batch, 3, *model.spec.preprocessing.size, generator=random)
    return pixels, names, names[:4], index, index.flip(0)


def run_onnx(path: Path, inputs: Arrays, names: tuple[str, ...]) -> Arrays:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, inputs, strict=True)))


def run_openvino(path: Path, inputs: Arrays, names: tuple[str, ...]) -> Arrays:
    openvino = pytest.importorskip("openvino")
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    graph = openvino.Core().compile_model(path, "CPU", precise)
    answer = graph(dict(zip(names, inputs, strict=True)))
    return [answer[output] for output in graph.outputs]


@pytest.mark.parametrize(
    ("kind", "to", "name", "run"),
    [
        ("clipseg", "onnx", "graph.onnx", run_onnx),
        ("partclipseg", "openvino", "graph.xml", run_openvino),
    ],
)
@torch.inference_mode()
def test_the_file_loads_elsewhere_and_gives_the_model_s_maps(
    kind: str, to: str, name: str, run: Callable[..., Arrays], tmp_path: Path, capsys
) -> None:
    weights, path = write_toy(kind, tmp_path / "small.safetensors"), tmp_path / "new" / name
    assert main(["export", str(weights), "--to", to, "--out", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    assert json.loads(path.with_suffix(".json").read_text())["size"] == [96, 96]

    model = TOY_MODELS[kind]()
    tensors = asked(model, batch=3)
    io = graph_io(model)
    found = run(path, [tensor.numpy() for tensor in tensors[: len(io.inputs)]], io.inputs)
    expected = model(*tensors)[: len(io.outputs)]
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-3 * theirs.std().item())
        level = theirs.quantile(0.8).item()
        assert ((ours > level) == (theirs.numpy() > level)).mean() > 0.999


@pytest.mark.slow
@torch.inference_mode()
def test_a_model_of_objects_is_one_graph_from_pixels_to_masks(tmp_path: Path, capsys) -> None:
    weights, path = write_toy("openseed", tmp_path / "small.safetensors"), tmp_path / "graph.onnx"
    assert main(["export", str(weights), "--out", str(path), "--size", "96x65"]) == 1
    assert "multiples of 32" in capsys.readouterr().err
    assert main(["export", str(weights), "--out", str(path), "--size", "96x64"]) == 0
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["size"] == [64, 96] and "boxes" in about
    pixels, names = torch.randn(1, 3, 64, 96), torch.randn(3, 32)
    names /= names.norm(dim=-1, keepdim=True)
    boxes, scores, masks = run_onnx(path, [pixels.numpy(), names.numpy()], ("pixels", "names"))
    model = toy("openseed").model
    assert isinstance(model, ObjectModel)
    expected = model.detect(model.encode(pixels), names)
    ours, theirs = ObjectPredictions(*map(torch.from_numpy, (boxes, scores, masks))), expected
    ious, errors = matched(ours, theirs, (64, 96))  # equal scores may be in another order
    assert ious.mean() > 0.99 and errors.median() < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "openvino", "--out", "graph.onnx"], "ends in .xml"),
        (["--to", "onnx", "--out", "."], "ends in .onnx"),
        (["--to", "openvino", "--precision", "fp16"], "fp32"),
        (["--to", "onnx", "--capabilities", "8.6"], "--to tensorrt"),
        (["--to", "onnx", "--max-batch", "4"], "--max-batch is for --to tensorrt"),
        (["--to", "openvino", "--max-queries", "4"], "--max-queries is for --to tensorrt"),
        (["--to", "graphs", "--max-queries", "4"], "--max-queries is for --to tensorrt"),
        (["--to", "graphs", "--capabilities", "8.6"], "--capabilities is for --to tensorrt"),
        (["--to", "graphs", "--precision", "fp16"], "fp32"),
        (["--to", "graphs", "--size", "96x96"], "--size is not for --to graphs"),
        (["--to", "onnx"], "no model, file or folder"),
    ],
)
def test_wrong_input_is_named_in_one_line(arguments: list[str], message: str, capsys) -> None:
    assert main(["export", "ovps-tinny", *arguments]) == 1
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_file_that_is_no_model_writes_nothing(tmp_path: Path, capsys) -> None:
    damaged, path = tmp_path / "damaged.safetensors", tmp_path / "graph.onnx"
    damaged.write_bytes(b"not weights")
    assert main(["export", str(damaged), "--out", str(path)]) == 1
    assert "damaged" in capsys.readouterr().err and not path.exists()


def test_the_lines_of_the_documentation_run_without_ovps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    docs = ROOT / "docs"
    lines = re.findall(r"```python\n(.*?)```", (docs / "performance.md").read_text(), re.DOTALL)[0]
    monkeypatch.chdir(tmp_path)
    assert main(["export", "ovps-tiny", "--to", "onnx", "--out", "tiny.onnx"]) == 0
    shutil.copyfile(docs / "images" / "table.jpg", "desk.jpg")
    seen: dict[str, np.ndarray] = {}
    exec(lines, seen)
    found = cv2.resize(seen["knife_handle"].astype(np.uint8), (640, 480)) > 0
    assert found[358, 395] and found.mean() < 0.05


def test_a_maximum_below_one_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["export", "ovps-tiny", "--to", "tensorrt", "--max-queries", "0"])
    assert "--max-queries: 0 is not a number of at least 1" in capsys.readouterr().err
