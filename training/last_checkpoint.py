"""Checkpoint of the newest step of a run, from which it can be resumed."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import timedelta
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from ovps_core.errors import OutputError

_FIRST_AFTER = 60.0  # seconds; a run that is stopped later than that can be resumed


class LastCheckpoint(Checkpoint):
    """Write one file after the first minute, then again and again, and at the last step; all or nothing.

    Args:
        path: the file.
        every: time between two writes.
    """

    def __init__(self, path: Path, every: timedelta) -> None:
        self._path = path
        self._every = every.total_seconds()
        self._due = 0.0
        self._written_at: int | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._due = time.monotonic() + min(_FIRST_AFTER, self._every)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Write the file if it is time, or if this was the last step.

        Raises:
            OutputError: the file cannot be written; the one before stays.
        """
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # a checkpoint has no gradients, so it comes after a whole step
        last = trainer.should_stop or 0 <= trainer.max_steps <= trainer.global_step
        # the clocks of several GPUs differ; the first one decides
        if trainer.strategy.broadcast(last or time.monotonic() >= self._due):
            self._write(trainer)
            self._due = time.monotonic() + self._every

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write a file of this step anew, with its scores: a run that is resumed need not repeat them.

        Raises:
            OutputError: the file cannot be written; the one before stays.
        """
        if trainer.state.fn == TrainerFn.FITTING and self._written_at == trainer.global_step:
            for logger in trainer.loggers:
                logger.save()
            self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        # all processes save together, so the name must not depend on the process as in whole_files
        beside = self._path.with_name(f"{self._path.name}.part")
        try:
            trainer.save_checkpoint(beside)
            if trainer.is_global_zero:
                os.replace(beside, self._path)
            self._written_at = trainer.global_step
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error
