"""Scores come every ``score_every`` optimiser steps, and for 0 at the end only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.toy_models import toy
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning")
import lightning as L

from training.families import load_recipe
from training.recipe import StepOptimRecipe
from training.run import LastScore, Launch, TrainingRun, make_trainer, settings_by_steps
from training.stream import StreamPosition, stream_loader

SAMPLES = TensorDataset(torch.ones(3, 1))


class Module(L.LightningModule):
    """One weight; it notes the step of each score."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scored_at = torch.nn.Linear(1, 1), []

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return self.layer(batch[0]).sum()

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self.scored_at.append(self.trainer.global_step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Images(L.LightningDataModule):
    """An endless stream of samples, as each family has it."""

    def train_dataloader(self) -> DataLoader[Any]:
        return stream_loader(SAMPLES, 1, StreamPosition.of(self.trainer, 0))

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(SAMPLES, 3)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(
    ("score_every", "ends_by_steps", "during"),
    [(2, True, [2, 4]), (0, True, [5]), (2, False, [2, 4]), (0, False, [])],
)
def test_scores_are_counted_in_steps(
    tmp_path: Path, accumulate: int, score_every: int, ends_by_steps: bool, during: list[int]
) -> None:
    torch.set_num_threads(1)
    model, encoder, info = toy("compact")
    optim = StepOptimRecipe(steps=5, accumulate=accumulate, score_every=score_every)
    settings = replace(settings_by_steps(optim), precision="32-true")
    if not ends_by_steps:  # as a run that ends by the clock
        settings = replace(settings, score_every=score_every)
    module, recipe = Module(), load_recipe("objects")
    run = TrainingRun(
        recipe, module, model, encoder, Images(), settings, scored_on="val", curves=()
    )
    run.result = lambda: (model.state_dict(), info)
    last = LastScore()
    trainer = make_trainer(run, tmp_path, 0, Launch(devices=1), last)
    trainer.fit(module, run.images)
    assert trainer.global_step == 5 and module.scored_at == during
    assert last.outdated == (during[-1:] != [5]), "train_model scores once more then"
