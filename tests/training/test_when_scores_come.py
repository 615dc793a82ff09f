"""Scores come every ``score_every`` optimiser steps, and for 0 at the end only; also in a run that was killed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.toy_models import toy
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning")
import lightning as L
from lightning.pytorch.callbacks import Callback

from training.best_weights import BestWeights
from training.families import load_recipe
from training.recipe import StepOptimRecipe
from training.report import join_curves, read_curves, set_aside_curves
from training.run import (
    LAST,
    LastScore,
    Launch,
    TrainerSettings,
    TrainingRun,
    make_trainer,
    settings_by_steps,
)
from training.stream import StreamPosition, stream_loader

SAMPLES = TensorDataset(torch.ones(3, 1))


class KilledHereError(Exception):
    """The run ends here."""


class Module(L.LightningModule):
    """One weight; it notes the step of each score."""

    def __init__(self, killed_at: int = -1) -> None:
        super().__init__()
        self.layer, self.scored_at, self.killed_at = torch.nn.Linear(1, 1), [], killed_at

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return self.layer(batch[0]).sum()

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        if self.trainer.global_step == self.killed_at:
            raise KilledHereError
        self.scored_at.append(self.trainer.global_step)
        self.log("score/part_miou", float(self.trainer.global_step))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class _KillAfterValidation(Callback):
    """End the run after the validation of a step, before the next step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise KilledHereError


class Images(L.LightningDataModule):
    """An endless stream of samples, as each family has it."""

    def train_dataloader(self) -> DataLoader[Any]:
        return stream_loader(SAMPLES, 1, StreamPosition.of(self.trainer, 0))

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(SAMPLES, 3)


def fit(
    module: Module, settings: TrainerSettings, folder: Path, *callbacks: Callback, resume: bool = False
) -> L.Trainer:  # fmt: skip
    torch.set_num_threads(1)
    model, encoder, info = toy("compact")
    settings = replace(settings, precision="32-true")
    recipe = load_recipe("objects")
    run = TrainingRun(
        recipe, module, model, encoder, Images(), settings, scored_on="val", curves=()
    )
    run.result = lambda: (model.state_dict(), info)
    trainer = make_trainer(run, folder, 0, Launch(1, checkpoint_every=timedelta(0)), *callbacks)
    trainer.fit(module, run.images, ckpt_path=folder / LAST if resume else None, weights_only=True)
    return trainer


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(
    ("score_every", "ends_by_steps", "during"),
    [(2, True, [2, 4]), (0, True, [5]), (2, False, [2, 4]), (0, False, [])],
)
def test_scores_are_counted_in_steps(
    tmp_path: Path, accumulate: int, score_every: int, ends_by_steps: bool, during: list[int]
) -> None:
    optim = StepOptimRecipe(steps=5, accumulate=accumulate, score_every=score_every)
    settings = settings_by_steps(optim)
    if not ends_by_steps:  # as a run that ends by the clock
        settings = replace(settings, score_every=score_every)
    module, last = Module(), LastScore()
    trainer = fit(module, settings, tmp_path, last)
    assert trainer.global_step == 5 and module.scored_at == during
    assert last.outdated == (during[-1:] != [5]), "train_model scores once more then"


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_run_killed_in_a_validation_makes_it_up_and_counts_its_rate_from_there(
    tmp_path: Path, accumulate: int
) -> None:
    settings = settings_by_steps(StepOptimRecipe(steps=7, accumulate=accumulate, score_every=2))
    killed, resumed = Module(killed_at=4), Module()
    with pytest.raises(KilledHereError):
        fit(killed, settings, tmp_path)
    before = set_aside_curves(tmp_path / "csv" / "metrics.csv")
    trainer = fit(resumed, settings, tmp_path, resume=True)
    assert (killed.scored_at, resumed.scored_at) == ([2], [4, 6])
    after = join_curves(before, read_curves(tmp_path / "csv" / "metrics.csv"))
    assert [each.tolist() for each in after["score/part_miou"]] == [[1, 3, 5], [2, 4, 6]]
    best = next(each for each in trainer.callbacks if isinstance(each, BestWeights))
    assert best.found == ("score/part_miou", 6, 6)

    bar = trainer.progress_bar_callback.train_progress_bar
    done = 3 * accumulate  # batches in one second
    assert (bar.n, bar.total) == (7 * accumulate, 7 * accumulate)
    assert f"{done:.2f}it/s" in bar.format_meter(**{**bar.format_dict, "elapsed": 1.0})


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_run_killed_after_a_validation_does_not_repeat_it(
    tmp_path: Path, accumulate: int
) -> None:
    settings = settings_by_steps(
        StepOptimRecipe(steps=7, accumulate=accumulate, score_every=2, ema_decay=0.5)
    )
    whole, killed, resumed = Module(), Module(), Module()
    killed.load_state_dict(whole.state_dict())
    fit(whole, settings, tmp_path / "whole")
    with pytest.raises(KilledHereError):
        fit(killed, settings, tmp_path, _KillAfterValidation(4))
    before = set_aside_curves(tmp_path / "csv" / "metrics.csv")
    fit(resumed, settings, tmp_path, resume=True)
    assert (killed.scored_at, resumed.scored_at) == ([2, 4], [6])
    after = join_curves(before, read_curves(tmp_path / "csv" / "metrics.csv"))
    assert [each.tolist() for each in after["score/part_miou"]] == [[1, 3, 5], [2, 4, 6]]
    assert torch.equal(resumed.layer.weight, whole.layer.weight)
    fit(longer := Module(), replace(settings, max_steps=9), tmp_path, resume=True)
    assert longer.scored_at == [8]


def test_weights_are_averaged_also_if_no_step_is_left_to_resume(tmp_path: Path) -> None:
    settings = settings_by_steps(StepOptimRecipe(steps=3, ema_decay=0.5))
    whole, resumed, last = Module(), Module(), LastScore(outdated=True)
    fit(whole, settings, tmp_path)
    trainer = fit(resumed, settings, tmp_path, last, resume=True)
    assert trainer.global_step == 3 and last.outdated, "train_model scores it"
    assert torch.equal(resumed.layer.weight, whole.layer.weight)
    step = torch.load(tmp_path / LAST, weights_only=True)["current_model_state"]["layer.weight"]
    assert not torch.equal(step, whole.layer.weight)
