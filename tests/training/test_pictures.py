"""A run draws answers at every validation, and the samples of each type of recipe can be shown."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.mug_pictures import recipe_file
from helpers.object_pictures import SIZE, write_pictures
from helpers.small_scenes import write_scenes

pytest.importorskip("lightning")
import lightning.pytorch.loggers
from lightning.pytorch.loggers.logger import DummyLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import training.run
from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.matching import ObjectTargets
from ovps_core.models.interface import Preprocessing
from ovps_core.models.objects import ObjectPredictions
from training.data_command import main as data_command
from training.families import load_recipe
from training.openseed.pictures import answer_of, sample_of
from training.openseed.recipe import OpenSeeDRecipe
from training.openseed.run import prepare
from training.run import DataSources, Launch, make_trainer
from training.train import main

PLAIN = Preprocessing((8, 8), (0, 0, 0), (1, 1, 1))
TARGET = ObjectTargets(
    torch.tensor([1, 0]), torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.25, 0.25, 0.5, 0.5]])
)


def check_pictures(run: Path, steps: list[int]) -> None:
    assert cv2.imread(str(run / "answers.png")) is not None
    events = EventAccumulator(str(run / "tensorboard"), {"images": 0}).Reload()
    assert [each.step for each in events.Images("answers")] == steps


def test_answers_of_parts_are_drawn_at_every_validation(mugs: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    changes = {"steps": 3, "batch": 2, "warmup": 1, "score_every": 2, "ema_decay": 0.9}
    recipe = recipe_file(tmp_path, optim=changes)
    assert main([str(recipe), "--data", str(mugs), "--out", str(tmp_path)]) == 0
    check_pictures(tmp_path / "mugs", [2, 3])


def test_answers_of_objects_are_drawn_at_every_validation(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    few = ["optim.batch=2", "optim.steps=2", "optim.score_every=1"]
    for boxes_only in (False, True):
        name = f"boxes{boxes_only}"
        data = write_pictures(tmp_path, name, boxes_only=boxes_only)
        arguments = ["--data", str(data), "--out", str(tmp_path), "--set", f"name=run-{name}", *few]
        assert main(["openseed-overfit", *arguments]) == 0
        check_pictures(tmp_path / f"run-{name}", [1, 2])


def test_answers_of_a_compact_model_are_drawn_at_the_end(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    folders = [write_scenes(tmp_path / name, [("mug", "rim")], 3) for name in ("train", "val")]
    arguments = ["--data", str(folders[0]), "--val", str(folders[1]), "--out", str(tmp_path)]
    few = ["optim.minutes=0.02", "optim.batch=2", "optim.phases=[[1, 64, 4]]"]
    assert main(["finetune", *arguments, "--set", *few]) == 0
    assert cv2.imread(str(tmp_path / "finetune" / "answers.png")) is not None


def test_objects_are_shown_with_mask_box_and_name(tmp_path: Path) -> None:
    masks = torch.ones(2, 8, 8, dtype=torch.bool)
    masks[1, 4:] = False
    target = ObjectTargets(TARGET.labels, TARGET.boxes_cxcywh, masks)
    sample = sample_of(torch.ones(3, 8, 8), target, ["mug", "wall"], PLAIN)
    assert sample.rgb.shape == (8, 8, 3) and sample.rgb.min() == 255
    assert (sample.labels[:4] == 1).all() and (sample.labels[4:] == 0).all()
    assert [box.name for box in sample.boxes] == ["wall", "mug"]
    assert sample.boxes[1].corners == (0, 0, 4, 4)
    without = sample_of(torch.ones(3, 8, 8), TARGET, ["mug", "wall"], PLAIN)
    assert (without.labels == IGNORE).all() and without.boxes == sample.boxes

    files = [write_pictures(tmp_path), write_pictures(tmp_path, "boxes", boxes_only=True)]
    arguments = ["openseed-overfit", "--data", *map(str, files), "--out", str(tmp_path / "o.png")]
    assert data_command(["show", *arguments, "--count", "6", "--set", "optim.batch=2"]) == 0
    assert cv2.imread(str(tmp_path / "o.png")) is not None
    recipe = load_recipe("openseed-overfit", ["optim.batch=1"])
    assert isinstance(recipe, OpenSeeDRecipe)
    samples = prepare(recipe, DataSources(tuple(files))).preview()
    assert [len(next(samples).boxes) for _ in range(4)] == [3, 2, 3, 2], "the files in turn"


def test_an_answer_shows_as_many_objects_as_there_are() -> None:
    logits = torch.full((1, 3, 4, 4), -9.0)
    logits[0, 0, :, :2] = 9  # the best answer: the left half
    logits[0, 1] = 9  # the second best: everything
    scores = torch.tensor([[[0.9, 0.0], [0.1, 0.8], [0.3, 0.2]]])
    predictions = ObjectPredictions(torch.zeros(1, 3, 4), scores, logits)
    answer = answer_of(torch.zeros(3, SIZE, SIZE), TARGET, predictions, PLAIN)
    half = SIZE // 2
    assert (answer.predicted[:, : half - 8] == 0).all()
    assert (answer.predicted[:, half + 8 :] == 1).all()
    assert (answer.truth[:half, :half] == 0).all() and (answer.truth[half:] == 1).all()
    empty = ObjectTargets(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))
    answer = answer_of(torch.zeros(3, SIZE, SIZE), empty, predictions, PLAIN)
    for labels in (answer.truth, answer.predicted):
        assert labels.shape == (SIZE, SIZE) and np.all(labels == IGNORE)


def test_a_run_logs_to_weights_and_biases_if_a_project_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wandb(DummyLogger):
        def __init__(self, name: str, save_dir: Path, *, project: str) -> None:
            super().__init__()
            self.project = project

    monkeypatch.setattr(lightning.pytorch.loggers, "WandbLogger", Wandb)
    monkeypatch.setattr(training.run, "find_spec", lambda name: name == "wandb")
    run = prepare(load_recipe("openseed-overfit"), DataSources((write_pictures(tmp_path),)))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    assert len(make_trainer(run, tmp_path, 0, Launch(devices=1)).loggers) == 2
    monkeypatch.setenv("WANDB_PROJECT", "parts")
    (*_, logger) = make_trainer(run, tmp_path, 0, Launch(devices=1)).loggers
    assert isinstance(logger, Wandb) and logger.project == "parts"
