"""Pictures of parts as a training reads them, with plain colours."""

from __future__ import annotations

from typing import Literal

from ovps_core.models.interface import Preprocessing
from training.data import PartImagesModule, TrainingData
from training.recipe import DataRecipe


def part_images(
    data: TrainingData,
    recipe: DataRecipe,
    size: tuple[int, int],
    *,
    batch: int,
    score_on: Literal["val", "train"] = "val",
) -> PartImagesModule:
    """Batches of RGB pictures of ``size`` (height, width), whose labels are not shifted."""
    return PartImagesModule(
        data,
        recipe,
        Preprocessing(size, (0, 0, 0), (1, 1, 1)),
        batch=batch,
        seed=0,
        score_on=score_on,
        rgb=True,
        unshifted=True,
    )
