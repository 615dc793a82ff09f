"""A trained compact model learns new objects: their words, their rows, and nothing is forgotten at first."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ovps_core.checkpoints import find_weights, load_model
from ovps_core.checkpoints.file import read_info
from ovps_core.errors import ConfigError, DatasetError
from ovps_core.labelling.project import read_annotations
from ovps_core.language.parser import parse_queries
from ovps_core.models.compact.model import PartFPN
from ovps_core.models.compact.query_encoder import VocabularyEncoder
from ovps_core.synthetic.settings import IGNORED

pytest.importorskip("lightning")
from ovps_core.segmenter import PartSegmenter
from training.compact.calibrate import load_compact_recipe
from training.compact.calibration import uncalibrated
from training.compact.growth import class_columns, grown_config, grown_state, softmax_names
from training.compact.module import network_config
from training.compact.photographs import read_photographs
from training.compact.recipe import CompactRecipe
from training.compact.run import prepare
from training.families import load_recipe
from training.new_objects import add_object_options, object_overrides
from training.recipe import RECIPES
from training.run import DataSources
from training.train import main

VALVE = (("valve", "wheel", "stem"),)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Two labelled frames of a valve."""
    folder = tmp_path / "frames"
    folder.mkdir()
    images, annotations = [], []
    for i in range(2):
        picture = np.full((120, 160, 3), 200 - 40 * i, np.uint8)
        cv2.circle(picture, (80, 50), 25, (30, 30, 200), -1)
        cv2.rectangle(picture, (75, 75), (85, 110), (90, 90, 90), -1)
        cv2.imwrite(str(folder / f"{i}.png"), picture)
        images.append({"id": i, "file_name": f"{i}.png", "not_exhaustive_category_ids": []})
        outlines = {
            1: [[55, 25, 105, 25, 105, 75, 55, 75]],
            2: [[75, 75, 85, 75, 85, 110, 75, 110]],
        }
        for category, outline in outlines.items():
            annotation = {"id": 2 * i + category, "image_id": i, "category_id": category}
            annotations.append({**annotation, "instance": i, "segmentation": outline})
    categories = [
        {"id": 1, "object": "valve", "part": "wheel"},
        {"id": 2, "object": "valve", "part": "stem"},
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def tiny() -> PartFPN:
    model = load_model(find_weights("ovps-tiny")).model
    assert isinstance(model, PartFPN)
    return model


def grown(tiny: PartFPN, **changes: tuple[str, ...]) -> PartFPN:
    model = PartFPN(grown_config(tiny.config, VALVE, **changes)).eval().requires_grad_(False)
    model.load_state_dict(grown_state(tiny, model.config))
    return model


def test_old_classes_answer_as_before_and_new_ones_share_the_background(tiny: PartFPN) -> None:
    model = grown(tiny)
    assert model.config.objects == (*tiny.config.objects, "valve")
    assert model.config.object_parts[-2:] == (("valve", "wheel"), ("valve", "stem"))
    pixels = torch.rand(1, 3, 64, 96, generator=torch.manual_seed(0)) * 2 - 1
    names = zip(softmax_names(tiny.config), softmax_names(model.config), strict=True)
    answers = zip(tiny.scores(pixels), model.scores(pixels), strict=True)
    for (old, new), (before, after) in zip(names, answers, strict=True):
        before, after = before.softmax(1), after.softmax(1)
        kept = [1 + new.index(name) for name in old]
        torch.testing.assert_close(after[:, kept], before[:, 1:], atol=1e-5, rtol=1e-4)
        added = [0, *(1 + i for i, name in enumerate(new) if name not in old)]
        torch.testing.assert_close(after[:, added].sum(1), before[:, 0], atol=1e-5, rtol=1e-4)
        assert (after[:, added] - after[:, :1]).abs().max() < 1e-5, "equal shares at first"


def test_a_model_is_cut_down_to_a_few_objects(tiny: PartFPN) -> None:
    model = grown(tiny, keep=("mug", "knife"))
    assert model.config.objects == ("knife", "mug", "valve")
    assert set(model.config.parts) >= {"blade", "handle", "wheel", "stem"}
    assert "bristles" not in model.config.parts
    row = tiny.splits[0] + 1 + tiny.config.parts.index("blade")
    new_row = model.splits[0] + 1 + model.config.parts.index("blade")
    assert torch.equal(model.head.weight[new_row], tiny.head.weight[row])
    with pytest.raises(ConfigError, match="cannot keep zeppelin: the model to start from knows"):
        grown(tiny, keep=("zeppelin",))


def test_synonyms_are_words_of_the_model(tiny: PartFPN) -> None:
    config = grown_config(
        tiny.config, VALVE, synonyms=(("valve", "stopcock"), ("wheel", "hand wheel"))
    )
    encoder = VocabularyEncoder(config.vocabulary, config.synonyms)
    phrases = [
        "valve wheel",
        "stem of the valve",
        "stopcock hand wheel",
        "hand wheel of the stopcock",
    ]
    accepted, refused = encoder.read(parse_queries([*phrases, "mug handle", "stopcock"]))
    assert not refused
    read = [(query.read_as.object, query.read_as.part) for query in accepted]
    wheel, stem = ("valve", "wheel"), ("valve", "stem")
    assert read == [wheel, stem, wheel, wheel, ("mug", "handle"), ("valve", "")]
    with pytest.raises(ConfigError, match="neither an object nor a part of this model"):
        grown_config(tiny.config, VALVE, synonyms=(("zeppelin", "airship"),))


def test_columns_compare_two_softmaxes() -> None:
    old, new = class_columns(["mug", "knife"], ["knife", "valve"])
    assert old.tolist() == [0, 0, 1] and new.tolist() == [0, 1, 0]


def test_the_command_teaches_an_object_from_labelled_frames_alone(
    frames: Path, tmp_path: Path
) -> None:
    arguments = [str(frames), "--from", "ovps-tiny", "--objects", "valve", "--out", str(tmp_path)]
    changes = ["optim.minutes=0.05", "optim.batch=2", "optim.phases=[[1, 64, 4]]"]
    words = ["--words", "valve=stopcock", "--val", str(frames)]
    assert main([*arguments, *words, "--set", *changes]) == 0
    card = (tmp_path / "valve" / "MODEL_CARD.md").read_text()
    assert "valve wheel" in card and "final/mean IoU" in card
    assert "Best: score/part_miou" in card, "labelled pictures are scored during the training, too"
    assert (tmp_path / "valve" / "best.safetensors").is_file()
    assert cv2.imread(str(tmp_path / "valve" / "answers.png")) is not None
    weights = tmp_path / "valve" / "model.safetensors"
    config, start = read_info(weights).config, read_info(find_weights("ovps-tiny")).config
    assert config.objects[-1] == "valve" and config.synonyms == (("valve", "stopcock"),)
    assert (config.shift, config.size) == (start.shift, start.size), "calibrated as its start"
    segmenter = PartSegmenter.from_pretrained(weights, backend="torch")
    result = segmenter.segment(np.zeros((64, 64, 3), np.uint8), "stopcock wheel, mug handle")
    assert not result.refused


def test_pictures_without_labels_teach_what_the_start_answers(frames: Path, tmp_path: Path) -> None:
    unlabelled = tmp_path / "unlabelled"
    unlabelled.mkdir()
    cv2.imwrite(str(unlabelled / "kitchen.png"), np.full((120, 160, 3), 90, np.uint8))
    changes = [f"data.unlabelled=[{unlabelled}]", "data.unlabelled_share=1.0", "optim.batch=2"]
    recipe = load_recipe("objects", changes)
    assert isinstance(recipe, CompactRecipe)
    run = prepare(recipe, DataSources((frames,)))
    pictures, ids, absent = next(iter(run.images.train_dataloader()))
    assert (ids == IGNORED).all() and not absent.any()
    cross_entropy, dice, absence, retain = run.training.losses(pictures / 255, ids, absent)
    assert cross_entropy == dice == absence == 0 < retain
    with pytest.raises(ConfigError, match=r"needs model.start and losses.retain"):
        load_recipe("objects", [*changes, "losses.retain=0"])


def test_a_share_of_the_start_stays_in_the_result(frames: Path, tiny: PartFPN) -> None:
    recipe = load_recipe(
        "objects", ["model.share=0.25", 'model.objects=[["valve","wheel","stem"]]']
    )
    assert isinstance(recipe, CompactRecipe)
    run = prepare(recipe, DataSources((frames,)))
    with torch.no_grad():
        run.model.head.weight.add_(1.0)
    (tensors, info), start = run.result(), grown(tiny)
    assert info.config.objects[-1] == "valve"
    torch.testing.assert_close(tensors["head.weight"], start.head.weight + 0.25)
    with pytest.raises(ConfigError, match=r"share is 0.5; .*below 1 only with `start`"):
        load_recipe("ovps-tiny", ["model.share=0.5"])


def test_pictures_that_cannot_be_scored_are_refused_before_the_training(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "finetune",
        "--data",
        str(frames),
        "--val",
        str(frames),
        "--out",
        str(tmp_path / "runs"),
    ]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert f"--val {frames}: the model will know none of its 2 categories" in said
    assert "valve" in said and "--objects" in said and not (tmp_path / "runs").exists()


def test_pictures_that_nobody_has_labelled_are_left_out(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = frames / "annotations.json"
    content = json.loads(table.read_text())
    del content["images"][1]["not_exhaustive_category_ids"]
    content["categories"].append({"id": 3, "object": "propeller", "part": "hub"})  # without a mask
    for annotation in content["annotations"]:
        if annotation["image_id"] == 1:
            annotation |= {"pseudo_label": True, "score": 0.5}
    table.write_text(json.dumps(content))
    arguments = [str(frames), "--from", "ovps-tiny", "--out", str(tmp_path), "--val", str(frames)]
    changes = ["optim.minutes=0.01", "optim.batch=2", "optim.phases=[[1, 64, 4]]"]
    assert main([*arguments, "--set", *changes]) == 0
    assert "final/mean IoU" in (tmp_path / "objects" / "MODEL_CARD.md").read_text()
    config = read_info(tmp_path / "objects" / "model.safetensors").config
    assert config.objects[-1] == "valve", "without --objects, all that have a mask"
    assert "propeller" not in config.objects
    said, warned = capsys.readouterr()
    left_out = "1 of 2 pictures are left out, since nobody has labelled them"
    assert said.count(left_out) == 2, "of those to learn from, and of those to score on"
    assert not [noise for noise in ("Tip:", "eval mode", "weights_only") if noise in warned]


def test_an_export_whose_categories_have_only_names_is_read(frames: Path) -> None:
    table = frames / "annotations.json"
    content = json.loads(table.read_text())
    content["categories"] = [{"id": 1, "name": "valve wheel"}, {"id": 2, "name": "Valve_stem"}]
    content["categories"].append({"id": 3, "name": "traffic light"})
    table.write_text(json.dumps(content))
    assert read_annotations(frames)["categories"] == content["categories"]
    parser = argparse.ArgumentParser()
    add_object_options(parser)
    args = parser.parse_args(["--from", "ovps-tiny", "--objects", "valve"])
    learned = 'model.objects=[["valve", "stem", "wheel"]]'
    assert learned in object_overrides(args, [frames])
    first = read_photographs(frames, [("mug", "rim"), ("valve", "stem"), ("valve", "wheel")])[0]
    assert {2, 3} < set(first.ids.ravel().tolist())
    with pytest.raises(DatasetError, match="give the folder of the pictures"):
        read_annotations(table)


def test_a_run_that_adds_no_words_keeps_those_of_its_start_and_its_calibration() -> None:
    recipe = load_compact_recipe(RECIPES / "compact" / "finetune.yaml")
    start = read_info(find_weights("ovps-tiny")).config
    assert isinstance(recipe, CompactRecipe) and network_config(recipe) == start
    plain = uncalibrated(start)  # a new calibration begins with probabilities
    assert (plain.scale, plain.shift, plain.relative_cut, plain.unseen_pair_penalty) == (1, 0, 0, 0)
    assert plain.objects == start.objects


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "ovps-tiny", "--objects", "pump"], "label no part of 'pump', but of: valve"),
        (["--objects", "valve"], "change a trained model: give it with --from"),
        (["--from", "ovps-tiny", "--words", "valve"], "expected NAME=WORD"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    arguments: list[str], message: str, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert main(["objects", "--data", str(frames), "--out", str(tmp_path), *arguments]) == 1
    assert message in capsys.readouterr().err
