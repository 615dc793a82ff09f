"""Benchmarks that ask in sentences, and PACO's names: what is on disk is what is asked and scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.miniature_benchmarks import (
    HEIGHT,
    WIDTH,
    box,
    polygon,
    write_image,
    write_json,
    write_noise,
)
from helpers.toy_models import toy_compact
from scipy.io import savemat

from ovps_core.checkpoints.file import CheckpointInfo, LoadedModel
from ovps_core.cli import main
from ovps_core.datasets.coco_categories import ObjectPart
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.instructpart import InstructPart
from ovps_core.datasets.umd import UMDAffordances
from ovps_core.engines.torch_eager import EagerEngine
from ovps_core.errors import DatasetError
from ovps_core.evaluation.phrases import evaluate_phrases
from ovps_core.models.compact.query_encoder import VocabularyEncoder
from ovps_core.segmenter import PartSegmenter

BLADE = box(10, 10, 30, 50)


@pytest.fixture
def instructpart(tmp_path: Path) -> Path:
    base = tmp_path / "InstructPart" / "test"
    stem = "knife_01-kitchen_knife-blade"
    write_noise(base / "images" / f"{stem}.jpg", 0)
    write_image(base / "masks" / f"{stem}.png", BLADE.astype(np.uint8) * 255)
    texts = [
        "task",
        "other task",
        "where?",
        "where that cuts?",
        "blade of the knife",
        "blade that cuts",
    ]
    part = {"object": "kitchen knife", "part": "blade", "affordance": "cut", "action": "cut"}
    write_json(
        base / "data_test.json",
        [{"image_path": "knife_01.jpg", "part_list": [{**part, "instruction": texts}]}],
    )
    return tmp_path


def segmenter() -> PartSegmenter:
    model = toy_compact().eval()
    encoder = VocabularyEncoder(model.config.vocabulary)
    info = CheckpointInfo("toy", "compact", model.config)
    return PartSegmenter(LoadedModel(model, encoder, info), EagerEngine(model))


def test_instructpart_asks_by_name_or_by_task(instructpart: Path) -> None:
    reader = InstructPart(instructpart)
    asked = {wording: reader.questions(wording)[0].phrase for wording in reader.wordings}
    assert asked["name"] == "blade of the knife" and asked["task"] == "task"
    (question,) = reader.questions("name")
    assert np.array_equal(question.read_truth(), BLADE)
    next((instructpart / "InstructPart/test/masks").iterdir()).unlink()
    write_image(instructpart / "InstructPart/test/masks/other.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DatasetError, match="has no knife_01-kitchen_knife-blade"):
        reader.questions("name")


def test_a_part_without_an_instruction_is_named(instructpart: Path) -> None:
    table = instructpart / "InstructPart/test/data_test.json"
    (entry,) = json.loads(table.read_text())
    del entry["part_list"][0]["instruction"][4:]
    write_json(table, [entry])
    assert len(InstructPart(instructpart).questions("task")) == 1
    with pytest.raises(DatasetError, match=r"knife_01\.jpg has the part .*5 texts at least"):
        InstructPart(instructpart).questions("name")
    write_json(table, [{"image_path": "knife_01.jpg"}])
    with pytest.raises(DatasetError, match=r'has the entry \{"image_path".*part_list'):
        InstructPart(instructpart).questions("task")


def test_a_refused_question_scores_nothing(instructpart: Path) -> None:
    reader, model = InstructPart(instructpart), segmenter()
    refused = evaluate_phrases(reader.questions("task"), model)
    assert (refused.questions, refused.refused, refused.giou) == (1, 1, 0.0)
    answered = evaluate_phrases(reader.questions("name"), model)
    assert answered.refused == 0


def test_the_command_prints_and_writes_the_scores(
    instructpart: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.json"
    words = ["evaluate", "instructpart", "--root", str(instructpart), "--json", str(out)]
    assert main([*words, "--backend", "torch"]) == 0
    assert "P@50:95" in capsys.readouterr().out
    assert json.loads(out.read_text())["wording"] == "name"
    assert main([*words, "--wording", "song"]) == 1
    assert "instructpart has name, name-affordance" in capsys.readouterr().err


def test_umd_asks_for_the_affordances_that_a_frame_shows(tmp_path: Path) -> None:
    base = tmp_path / "part-affordance-dataset"
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[BLADE] = 2
    labels[40:50, 10:20] = 1
    (base / "tools" / "knife_01").mkdir(parents=True)
    savemat(base / "tools/knife_01/knife_01_00000001_label.mat", {"gt_label": labels})
    (base / "category_split.txt").write_text("1 mug_01_00000001\n2 knife_01_00000001\n")
    questions = UMDAffordances(tmp_path).questions("category")
    assert [q.phrase for q in questions] == ["grasp the knife", "cut with the knife"]
    assert np.array_equal(questions[1].read_truth(), BLADE)
    with pytest.raises(DatasetError, match=r"novel_split\.txt is missing"):
        UMDAffordances(tmp_path).questions("novel")


def test_paco_names_objects_and_their_parts(tmp_path: Path) -> None:
    write_noise(tmp_path / "val2017" / "1.jpg", 1)
    content = {
        "images": [{"id": 1, "file_name": "val2017/1.jpg", "neg_category_ids": [3]}],
        "categories": [
            {"id": 1, "name": "mug", "supercategory": "OBJECT"},
            {"id": 2, "name": "mug:handle", "supercategory": "PART"},
            {"id": 3, "name": "bat_(animal):inner_body", "supercategory": "PART"},
        ],
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 1, "obj_ann_id": 5, "segmentation": polygon(5, 5, 40, 40)},
            {"id": 6, "image_id": 1, "category_id": 2, "obj_ann_id": 5, "segmentation": polygon(5, 30, 20, 40)},
        ],
    }  # fmt: skip
    write_json(tmp_path / "paco_lvis_v1_val.json", content)
    folder = CocoFolder(tmp_path / "paco_lvis_v1_val.json")
    assert folder.categories == (
        ObjectPart("bat", "inner body"), ObjectPart("mug", ""), ObjectPart("mug", "handle"),
    )  # fmt: skip
    owners = {c.part: owner for owner, c, _ in folder.instances(folder.images[0], HEIGHT, WIDTH)}
    assert owners == {"": 5, "handle": 5}
