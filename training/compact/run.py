"""A training run of the compact model, from its recipe and rendered scenes."""

from __future__ import annotations

from datetime import timedelta

from lightning.pytorch.callbacks import Timer
from torch import Tensor

from ovps_core.checkpoints import CheckpointInfo
from ovps_core.errors import UsageError
from training.compact.data import SceneCropsModule
from training.compact.module import CompactTraining, network_config
from training.compact.recipe import CompactRecipe
from training.run import DataSources, TrainerSettings, TrainingRun


def prepare(recipe: CompactRecipe, sources: DataSources) -> CompactRun:
    """Open the scenes and build the network.

    Raises:
        DatasetError: a folder holds no rendered scenes.
        CheckpointError: the backbone's ImageNet weights are damaged.
        UsageError: no scenes to train or to score on are given.
    """
    if not sources.train or sources.val is None:
        raise UsageError(
            "a compact model needs rendered scenes: --data DIR [DIR ...] to train and --val DIR to "
            "score on; `ovps render` makes them"
        )
    optim = recipe.optim
    images = SceneCropsModule(
        sources.train,
        sources.val,
        size=optim.phases[0][1],
        batch=optim.batch,
        limit=recipe.data.limit,
        augment=recipe.data.augment,
    )
    timer = Timer(timedelta(minutes=optim.minutes), interval="step")
    module = CompactTraining(network_config(recipe), recipe, images, timer)
    return CompactRun(recipe, module, images, timer)


class CompactRun(TrainingRun):
    """Network, scenes and trainer settings of one run.

    Args:
        recipe: every number.
        module: the network with its losses.
        images: the rendered scenes.
        timer: ends the run.
    """

    def __init__(
        self,
        recipe: CompactRecipe,
        module: CompactTraining,
        images: SceneCropsModule,
        timer: Timer,
    ) -> None:
        optim = recipe.optim
        settings = TrainerSettings(
            max_steps=-1,
            precision=optim.precision,
            clip_norm=optim.clip_norm,
            ema_decay=optim.ema_decay,
            checkpoint_every=timedelta(minutes=5),
            log_every=20,
            score_every=optim.score_every,
        )
        super().__init__(
            module,
            images,
            settings,
            scored_on="val",
            curves=("loss/total", "loss/cross_entropy", "loss/dice", "score/part_miou"),
            callbacks=(timer,),
        )
        self.name = recipe.name
        self.training = module

    def result(self) -> tuple[dict[str, Tensor], CheckpointInfo]:
        """Tensors of the network, not yet calibrated, and the header of their weights file."""
        model = self.training.model
        info = CheckpointInfo(
            self.name, "compact", model.config, licence="Apache-2.0", source="rendered scenes"
        )
        return dict(model.state_dict()), info
