"""The validation and the average of weights that a run still owes when it goes on from its last checkpoint."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Callback, WeightAveraging

from training.best_weights import BestWeights


class ResumedRun(Callback):
    """Do what Lightning leaves out where a run was killed after the step of its last checkpoint.

    Args:
        score_every: optimiser steps between scores on the validation images; 0 for none on the way.
        best: knows the step of the last scores; None without images to score on.
    """

    def __init__(self, score_every: int, best: BestWeights | None) -> None:
        self._score_every, self._best = score_every, best

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Score a step that should have scores, if the checkpoint is from before them."""
        step = trainer.global_step
        if self._best is None or self._best.scored == step:
            return
        if not self._score_every or not step or step % self._score_every:
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
