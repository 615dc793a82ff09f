"""A prepared training run of any family, and the Lightning trainer that executes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor

from ovps_core.checkpoints import CheckpointInfo
from ovps_core.errors import UsageError
from training.recipe import Precision


@dataclass(frozen=True)
class DataSources:
    """Paths of the data, as given on the command line.

    Attributes:
        train: folders or files to learn from; empty for the family's default folder.
        val: folder or file to score on, for families that do not find it beside the training data.
    """

    train: tuple[Path, ...] = ()
    val: Path | None = None

    def single(self) -> Path | None:
        """The one path that a family without ``val`` takes, or None.

        Raises:
            UsageError: several paths, or a path to score on.
        """
        if len(self.train) > 1 or self.val is not None:
            raise UsageError("this type of recipe takes one --data and no --val")
        return self.train[0] if self.train else None


@dataclass(frozen=True)
class TrainerSettings:
    """The settings of the trainer that differ between runs.

    Attributes:
        max_steps: optimiser steps; -1 if a callback ends the run.
        precision: Lightning's precision.
        clip_norm: maximum norm of the whole gradient; 0 for no limit.
        ema_decay: decay per step of an exponential moving average of the weights; 0 for none.
        checkpoint_every: steps or time between checkpoints.
        log_every: steps between logged values.
        score_every: steps between scores on the validation images.
        find_unused_parameters: with several GPUs, allow parameters that get no gradient.
    """

    max_steps: int
    precision: Precision
    clip_norm: float
    ema_decay: float
    checkpoint_every: int | timedelta
    log_every: int
    score_every: int
    find_unused_parameters: bool = False


class TrainingRun(ABC):
    """Network, data and trainer settings of one run.

    Args:
        module: the losses, the optimiser and the scores. Logged names start with ``loss/`` or ``score/``.
        images: loaders of training and validation images.
        settings: the settings of the trainer.
        scored_on: "val" or "train", the images to score on; empty if there are none.
        curves: logged names that the plot shows, the total loss first.
        callbacks: callbacks of the family, in addition to those of every run.
    """

    def __init__(
        self,
        module: L.LightningModule,
        images: L.LightningDataModule,
        settings: TrainerSettings,
        *,
        scored_on: Literal["val", "train", ""],
        curves: tuple[str, ...],
        callbacks: tuple[Callback, ...] = (),
    ) -> None:
        self.module = module
        self.images = images
        self.settings = settings
        self.scored_on = scored_on
        self.curves = curves
        self.callbacks = callbacks

    @abstractmethod
    def result(self) -> tuple[dict[str, Tensor], CheckpointInfo]:
        """The trained tensors, on any device, and the header of their weights file."""

    def draw(self, path: Path) -> None:  # noqa: B027 - a family may have nothing to draw
        """Draw predictions beside the ground truth into the PNG ``path``; nothing by default."""


def make_trainer(run: TrainingRun, folder: Path, *callbacks: Callback) -> L.Trainer:
    """The trainer of a run: loggers and checkpoints in ``folder``, ``last.ckpt`` to resume from."""
    settings = run.settings
    every = settings.checkpoint_every
    checkpoint = ModelCheckpoint(
        folder,
        save_last=True,
        save_top_k=0,
        every_n_train_steps=every if isinstance(every, int) else None,
        train_time_interval=every if isinstance(every, timedelta) else None,
        enable_version_counter=False,
    )
    all_callbacks = [
        *run.callbacks,
        *callbacks,
        checkpoint,
        LearningRateMonitor("step"),
        _Progress(refresh_rate=10),
    ]
    if settings.ema_decay:
        all_callbacks.append(EMAWeightAveraging(decay=settings.ema_decay))
    several = torch.cuda.device_count() > 1 and settings.find_unused_parameters
    return L.Trainer(
        max_epochs=-1,
        max_steps=settings.max_steps,
        strategy="ddp_find_unused_parameters_true" if several else "auto",
        precision=settings.precision,
        gradient_clip_val=settings.clip_norm or None,
        callbacks=all_callbacks,
        logger=[
            TensorBoardLogger(folder, name="", version="tensorboard"),
            CSVLogger(folder, name="", version="csv"),
        ],
        log_every_n_steps=settings.log_every,
        check_val_every_n_epoch=None,
        val_check_interval=settings.score_every,
        limit_val_batches=None if run.scored_on else 0,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        enable_model_summary=False,
    )


class LastScore(Callback):
    """Remember whether the weights changed since the validation images were last scored.

    Attributes:
        outdated: True after optimiser steps without scores; False at first.
    """

    def __init__(self) -> None:
        self.outdated = False

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Note a step."""
        self.outdated = True

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the scores."""
        self.outdated = False


class _Progress(TQDMProgressBar):
    """Lightning's progress bar without the logger's version number."""

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        items = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in items.items() if name != "v_num"}
