"""A prepared training run of any family, and the Lightning trainer that executes it."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    LearningRateMonitor,
    Timer,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor

from ovps_core.checkpoints import CheckpointInfo
from ovps_core.checkpoints.file import full_state
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import UsageError
from ovps_core.models.interface import QueryEncoder
from ovps_core.models.network import PartModel
from training.best_weights import BEST, BestWeights
from training.drawn_answers import ANSWERS, DrawnAnswers
from training.last_checkpoint import LastCheckpoint
from training.left_out import LeftOut
from training.pictures import MAX_ANSWERS, Answer, PreviewSample, draw_answers
from training.recipe import Precision, Recipe, StepOptimRecipe
from training.resumed import ResumedRun
from training.stream import StepSeeds

LAST = "last.ckpt"
"""Checkpoint in a run's folder from which the run can be resumed."""

_NEVER = 2**60  # steps; no run is so long


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
        checkpoint_every: time between checkpoints; the first one comes after a minute.
        log_every: steps between logged values.
        accumulate: batches whose gradients are averaged for one step.
        score_every: optimiser steps between scores on the validation images; 0 for the end only.
        find_unused_parameters: with several GPUs, allow parameters that get no gradient.
    """

    max_steps: int
    precision: Precision
    clip_norm: float
    ema_decay: float
    checkpoint_every: timedelta
    log_every: int
    score_every: int
    find_unused_parameters: bool = False
    accumulate: int = 1


@dataclass(frozen=True)
class Launch:
    """How a run is spread over machines; it has no influence on what is learned.

    Attributes:
        devices: processes on this machine, one for each GPU; 0 for all GPUs, or one process on a CPU.
        nodes: machines; torchrun or SLURM starts the command on each.
        checkpoint_every: time between checkpoints; None for the recipe's.
    """

    devices: int = 0
    nodes: int = 1
    checkpoint_every: timedelta | None = None

    @property
    def is_distributed(self) -> bool:
        """The run has more than one process."""
        return self.nodes * (self.devices or max(1, torch.cuda.device_count())) > 1


def settings_by_steps(optim: StepOptimRecipe) -> TrainerSettings:
    """Settings of a trainer that ends after ``optim.steps``; a batch may leave parameters without a gradient."""
    return TrainerSettings(
        max_steps=optim.steps,
        precision=optim.precision,
        clip_norm=optim.clip_norm,
        ema_decay=optim.ema_decay,
        checkpoint_every=timedelta(minutes=5),
        log_every=min(10, optim.steps),
        score_every=min(optim.score_every or optim.steps, optim.steps),
        find_unused_parameters=True,
        accumulate=optim.accumulate,
    )


class TrainingRun:
    """Network, data and trainer settings of one run.

    Args:
        recipe: every number.
        module: the losses, the optimiser and the scores. Logged names start with ``loss/`` or ``score/``.
        model: the network that is trained.
        query_encoder: owner of the text encoder, whose weights belong to the network's file.
        images: loaders of training and validation images.
        settings: the settings of the trainer.
        scored_on: "val" or "train", the images to score on; empty if there are none.
        curves: logged names that the plot shows, the total loss first.
        callbacks: callbacks of the family, in addition to those of every run.

    Attributes:
        best_by: names of scores that tell the best weights; the first one that is logged decides.
        scored_finally: labelled pictures for a final evaluation of the weights file; None for none.
        left_out: damaged pictures and shards that are skipped.
    """

    best_by: tuple[str, ...] = ("score/harmonic_miou", "score/part_miou")
    scored_finally: CocoFolder | None = None

    def __init__(
        self,
        recipe: Recipe,
        module: L.LightningModule,
        model: PartModel,
        query_encoder: QueryEncoder,
        images: L.LightningDataModule,
        settings: TrainerSettings,
        *,
        scored_on: Literal["val", "train", ""],
        curves: tuple[str, ...],
        callbacks: tuple[Callback, ...] = (),
    ) -> None:
        self.recipe = recipe
        self.module = module
        self.model = model
        self.query_encoder = query_encoder
        self.images = images
        self.settings = settings
        self.scored_on = scored_on
        self.curves = curves
        self.callbacks = callbacks
        self.left_out = LeftOut()

    def result(self) -> tuple[dict[str, Tensor], CheckpointInfo]:
        """The trained tensors, on any device, and the header of their weights file."""
        name, family = self.recipe.name, self.recipe.family
        info = CheckpointInfo(name, family, self.model.config, source="training")
        return full_state(self.model, self.query_encoder), info

    def preview(self) -> Iterator[PreviewSample]:
        """Training samples as the network sees them.

        Raises:
            UsageError: this family cannot show its samples.
        """
        raise UsageError("samples of this type of recipe cannot be shown")

    def answers(self) -> Iterator[Answer]:
        """Predictions beside the truth, for the images to score on in their order; none by default."""
        return iter(())

    @torch.no_grad()
    def draw(self) -> bytes | None:
        """A PNG of the first ``MAX_ANSWERS`` answers, of a network in evaluation mode; None without any."""
        answers = list(islice(self.answers(), MAX_ANSWERS))
        return draw_answers(answers) if answers else None


def make_trainer(
    run: TrainingRun, folder: Path, seed: int, launch: Launch, *callbacks: Callback
) -> L.Trainer:
    """The trainer of a run: loggers and checkpoints in ``folder``, ``last.ckpt`` to resume from."""
    _quiet_lightning()
    settings = run.settings
    every = launch.checkpoint_every
    best = BestWeights(folder / BEST, run.best_by, run.result) if run.scored_on else None
    scored = [best, DrawnAnswers(folder / ANSWERS, run.draw)] if best is not None else []
    all_callbacks = [
        *run.callbacks,
        *callbacks,
        *scored,  # before the averaging, which takes its weights out at the end of a validation
        StepSeeds(seed),
        LastCheckpoint(folder / LAST, settings.checkpoint_every if every is None else every),
        LearningRateMonitor("step"),
        _Progress(refresh_rate=10),
    ]
    if settings.ema_decay:
        all_callbacks.append(EMAWeightAveraging(decay=settings.ema_decay))
    all_callbacks.append(ResumedRun(settings.score_every, best))
    unused = "ddp_find_unused_parameters_true" if settings.find_unused_parameters else "ddp"
    return L.Trainer(
        max_epochs=-1,
        max_steps=settings.max_steps,
        accumulate_grad_batches=settings.accumulate,
        devices=launch.devices or "auto",
        num_nodes=launch.nodes,
        strategy=unused if launch.is_distributed else "auto",
        use_distributed_sampler=False,  # the stream of samples knows the processes
        precision=settings.precision,
        gradient_clip_val=settings.clip_norm or None,
        callbacks=all_callbacks,
        logger=_loggers(run, folder),
        log_every_n_steps=settings.log_every,
        check_val_every_n_epoch=None,
        # counted in batches, while the recipe counts steps
        val_check_interval=(settings.score_every or _NEVER) * settings.accumulate,
        limit_val_batches=None if run.scored_on else 0,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        enable_model_summary=False,
    )


def _loggers(run: TrainingRun, folder: Path) -> list[Logger]:
    """TensorBoard and CSV files; Weights & Biases too, if WANDB_PROJECT is set and it is installed."""
    every = run.settings.log_every
    loggers: list[Logger] = [
        TensorBoardLogger(folder, name="", version="tensorboard"),
        CSVLogger(folder, name="", version="csv", flush_logs_every_n_steps=every),
    ]
    if os.environ.get("WANDB_PROJECT") and find_spec("wandb"):
        from lightning.pytorch.loggers import WandbLogger

        logged = WandbLogger(run.recipe.name, folder, project=os.environ["WANDB_PROJECT"])
        loggers.append(logged)
    return loggers


def _quiet_lightning() -> None:
    """Have Lightning print each line once, without advertisements and without warnings of what is meant."""
    logging.getLogger("lightning").propagate = False  # it has a handler of its own
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_is_about_the_run)
    # The modules in eval mode are norm layers that are kept.
    warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    # The curves of the earlier run are set aside before.
    warnings.filterwarnings("ignore", r"Experiment logs directory .* exists and is not empty")


def _is_about_the_run(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return "Tip:" not in text and "`weights_only` was not set" not in text


class LastScore(Callback):
    """Remember whether the weights changed since the validation images were last scored.

    Args:
        outdated: a resumed run may have been killed between its last step and the scores.

    Attributes:
        outdated: True after optimiser steps without scores.
    """

    def __init__(self, *, outdated: bool = False) -> None:
        self.outdated = outdated

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
    """Lightning's progress bar over the whole run, without the logger's version number.

    The rate of a resumed run, and so its end, counts the batches since it was resumed.
    """

    def on_train_start(self, *args: Any) -> None:
        super().on_train_start(*args)
        self._begin()  # no epoch starts in a run that is resumed within one

    def on_train_epoch_start(self, trainer: L.Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        self._begin()

    def _begin(self) -> None:
        bar, trainer = self.train_progress_bar, self.trainer
        total = self.total_train_batches
        bar.total = None if math.isinf(total) else int(total)
        bar.initial = bar.n = trainer.global_step * trainer.accumulate_grad_batches

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        items = super().get_metrics(trainer, pl_module)
        items = {name: value for name, value in items.items() if name != "v_num"}
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Timer) and callback.time_remaining() is not None:
                items["minutes left"] = round(float(callback.time_remaining() or 0) / 60, 1)
        return items

    @property
    def total_train_batches(self) -> int | float:
        """All batches of the run, so that the bar says when it ends; infinite if the clock ends it."""
        steps = self.trainer.max_steps
        return steps * self.trainer.accumulate_grad_batches if steps > 0 else float("inf")
