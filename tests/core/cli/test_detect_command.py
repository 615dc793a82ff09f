"""`ovps detect` finds objects by name, in words, in pictures and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.toy_models import write_toy
from pycocotools import mask as coco_mask

from ovps_core.cli import main

TABLE = ROOT / "docs" / "images" / "table.jpg"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy("openseed", tmp_path_factory.mktemp("weights") / "objects.safetensors")


def detect(weights: Path, *arguments: str | Path) -> int:
    return main(["detect", str(TABLE), *map(str, arguments), "--model", str(weights)])


def test_objects_in_a_table_a_picture_and_masks(weights: Path, tmp_path: Path, capsys) -> None:
    picture, masks = tmp_path / "out.png", tmp_path / "masks"
    arguments = ["--score-threshold", "0", "--max-objects", "5", "--masks", masks, "-o", picture]
    assert detect(weights, "knife", "mug", *arguments) == 0
    table = capsys.readouterr().out
    assert "knife" in table and "mug" in table and "box x y w h" in table
    assert cv2.imread(str(picture)).shape[0] > 480  # the picture and its legend
    written = sorted(masks.glob("*.png"))
    assert 0 < len(written) <= 5
    assert cv2.imread(str(written[0]), cv2.IMREAD_GRAYSCALE).shape == (480, 640)


@pytest.mark.parametrize("task", ["instance", "panoptic", "semantic"])
def test_json_of_every_task(task: str, weights: Path, capsys) -> None:
    arguments = ["--stuff", "wall", "floor", "--task", task, "--score-threshold", "0", "--json"]
    assert detect(weights, "knife", *arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["task"], answer["height"], answer["width"]) == (task, 480, 640)
    assert answer["names"] == ["knife", "wall", "floor"]
    for each in answer["objects"]:
        assert coco_mask.decode(each["segmentation"]).sum() == each["area"]
        assert (each["predicted_box"] is not None) == (task == "instance")
        assert each["is_thing"] == (each["name"] == "knife")
    if task == "semantic":
        assert sum(each["area"] for each in answer["objects"]) == 480 * 640


def test_nothing_found_is_an_answer(weights: Path, capsys) -> None:
    assert detect(weights, "knife", "--score-threshold", "1") == 0
    assert "not found" in capsys.readouterr().out


def test_faults_are_one_line(weights: Path, tmp_path: Path, capsys) -> None:
    assert detect(weights, "knife", "-o", tmp_path / "out.gif") == 1
    assert detect(weights, " ") == 1
    assert main(["detect", str(TABLE), "knife", "--model", "ovps-tiny"]) == 1
    assert detect(weights, "knife", "--device", "tpu") == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert ".png or .jpg" in said[0] and "empty name" in said[1] and "ovps segment" in said[2]
    assert "expected auto, cpu or cuda:N" in said[3]
    with pytest.raises(SystemExit):
        detect(weights, "knife", "--max-objects", "-1")
    assert "-1 is not a number of at least 1" in capsys.readouterr().err


def test_a_picture_that_cannot_be_read_is_an_entry(weights: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "cut.jpg").write_bytes(TABLE.read_bytes()[:2000])
    words = ["detect", str(tmp_path / "cut.jpg"), "knife", "--model", str(weights), "--json"]
    assert main(words) == 1
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert answer["image"].endswith("cut.jpg") and answer["error"] in said.err


def test_help_names_the_tasks(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["detect", "--help"])
    assert "panoptic" in capsys.readouterr().out


def test_masks_of_objects_are_grey_pictures(weights: Path, tmp_path: Path) -> None:
    assert detect(weights, "knife", "--task", "semantic", "--masks", tmp_path) == 0
    (path,) = tmp_path.glob("*.png")
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), 255)
