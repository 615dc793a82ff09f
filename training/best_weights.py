"""The best weights of a run, by a score on the validation images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ovps_core.checkpoints import CheckpointInfo, save_model

BEST = "best.safetensors"
"""Weights file in a run's folder."""


class BestWeights(Callback):
    """Write the weights whenever a score is higher than ever before.

    With averaged weights, these are scored and written; the callback must come before the one that averages.

    Args:
        path: the file.
        scores: names of logged scores; the first one that is logged decides.
        result: the weights and their header.

    Attributes:
        best, name, step: the highest score, its name, and the optimiser step that it is of.
        scored: step of the last scores; -1 before the first ones.
    """

    def __init__(
        self,
        path: Path,
        scores: tuple[str, ...],
        result: Callable[[], tuple[dict[str, Tensor], CheckpointInfo]],
    ) -> None:
        self._path, self._scores, self._result = path, scores, result
        self._scored: tuple[dict[str, Tensor], CheckpointInfo] | None = None
        self.best: float | None = None
        self.step, self.name = 0, scores[0]
        self.scored = -1

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Copy the weights that were scored; the scores of the module are not logged yet."""
        if trainer.is_global_zero:
            tensors, info = self._result()
            state = {key: value.detach().to("cpu", copy=True) for key, value in tensors.items()}
            self._scored = state, info

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare, and write the file if it is better."""
        scored, self._scored = self._scored, None
        self.scored = trainer.global_step
        name = next((name for name in self._scores if name in trainer.callback_metrics), None)
        if name is None:
            return
        score = float(trainer.callback_metrics[name])
        if self.best is not None and not score > self.best:
            return
        self.best, self.step, self.name = score, trainer.global_step, name
        if scored is not None:
            state, info = scored
            save_model(self._path, {k: v.contiguous() for k, v in state.items()}, info)

    @property
    def found(self) -> tuple[str, float, int] | None:
        """Name and value of the best score, and its step; None before the first one."""
        return None if self.best is None else (self.name, self.best, self.step)

    def state_dict(self) -> dict[str, Any]:
        """The best score and the step of the last ones, for a resumed run."""
        return {"best": self.best, "step": self.step, "name": self.name, "scored": self.scored}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the scores of the run that is resumed."""
        self.best, self.step = state_dict["best"], state_dict["step"]
        self.name = state_dict.get("name", self.name)  # earlier versions wrote neither
        self.scored = state_dict.get("scored", -1)
