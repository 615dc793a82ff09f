"""``ovps bench`` and ``ovps profile``: how fast an engine is here, and where its time goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.toy_models import write_toy

from ovps_core.cli import main

pytest.importorskip("matplotlib")
pytest.importorskip("psutil")
MODEL = "random:compact"


def test_every_engine_is_timed_against_the_masks_of_pytorch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--models", MODEL, "--engines", "torch:fp32", "torch:int8", "--repeats", "2"]
    workload = ["--queries", "2", "--sizes", "320x240", "--cameras", "2"]
    assert main(["bench", *arguments, *workload, "-o", str(tmp_path), "--device", "cpu"]) == 0
    content = json.loads((tmp_path / "bench.json").read_text())
    (result,) = content["results"]  # there is no torch:int8
    assert (result["engine"], result["queries"], result["cameras"]) == ("torch fp32", 2, 2)
    assert result["size"] == [320, 240] and result["iou"] == 1
    assert [len(stages) for stages in result["frames_ms"]] == [len(content["stages"])] * 2
    assert (tmp_path / "bench.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "bench.png").stat().st_size > 0


@pytest.mark.parametrize("size", ["0x0", "640", "640x-1"])
def test_a_size_without_pixels_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--sizes", size])
    assert capsys.readouterr().err.endswith(f"{size} is no size such as 640x480\n")


def test_a_profile_names_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", MODEL, "--engine", "torch", "--rows", "1", "--frames", "1"]
    assert main(["profile", *arguments]) == 0
    said = capsys.readouterr().out
    for stage in ("1 preprocess", "2 encode", "3 decode", "4 postprocess"):
        assert stage in said


def test_a_model_of_objects_is_timed_by_stage_and_compared_with_pytorch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_toy("openseed", tmp_path / "objects.safetensors")
    arguments = ["--engines", "torch:fp32", "--repeats", "1", "--queries", "3", "--device", "cpu"]
    arguments += ["--models", str(weights), "--sizes", "160x120", "--short-side", "64"]
    assert main(["bench", *arguments, "-o", str(tmp_path)]) == 0
    (result,) = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert (result["agreement"], result["iou"], result["queries"]) == (1, 1, 3)
    assert all(milliseconds > 0 for milliseconds in result["frames_ms"][0])
    said = capsys.readouterr().out
    assert "peak MB" in said and "agree" in said
    assert main(["profile", "--model", str(weights)]) == 1
    assert "`ovps bench`" in capsys.readouterr().err
