"""The validation and the average of weights that a run still owes when it goes on from its last checkpoint."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Callback, WeightAveraging


class ResumedRun(Callback):
    """Do what Lightning leaves out where a run was killed after the step of its last checkpoint.

    Args:
        score_every: optimiser steps between scores on the validation images; 0 for no scores on the way.
    """

    def __init__(self, score_every: int) -> None:
        self._score_every = score_every

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score a step that has scores: the checkpoint came before them, so the run may have been killed there."""
        if not self._score_every or not trainer.global_step:
            return
        if trainer.global_step % self._score_every:
            return
        scores = trainer.fit_loop.epoch_loop.val_loop
        scores.restarting = False
        trainer.validating = True
        scores.run()
        trainer.training = True

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Copy averaged weights in, which Lightning does only after a step; a second time changes nothing."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, WeightAveraging):
                callback.on_train_end(trainer, pl_module)
