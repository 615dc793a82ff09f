"""Pictures of a network's answers at every validation, as a file and for the loggers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from ovps_core.structures.image_files import load_image
from ovps_core.structures.whole_files import write_whole

ANSWERS = "answers.png"
"""Picture in a run's folder."""


class DrawnAnswers(Callback):
    """Draw answers of the weights that are scored. With averaged weights it must come before what averages them.

    Args:
        path: the PNG, which each validation replaces; TensorBoard and Weights & Biases keep all of them.
        draw: makes the PNG; None for nothing.
    """

    def __init__(self, path: Path, draw: Callable[[], bytes | None]) -> None:
        self._path, self._draw = path, draw

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw, in the first process only."""
        picture = self._draw() if trainer.is_global_zero else None
        if picture is None:
            return
        write_whole(self._path, picture)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(
                    "answers", load_image(picture), trainer.global_step, dataformats="HWC"
                )
            elif isinstance(logger, WandbLogger):
                logger.log_image("answers", [load_image(picture)], trainer.global_step)
