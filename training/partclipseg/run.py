"""A training run of PartCLIPSeg, from its recipe and photographs."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ovps_core.checkpoints import CheckpointInfo
from ovps_core.checkpoints.file import full_state
from ovps_core.models.partclipseg.query_encoder import ObjectPartEncoder
from training.data import PartImagesModule, open_data
from training.partclipseg.module import PartCLIPSegTraining
from training.partclipseg.network import build_network
from training.partclipseg.pictures import draw_predictions
from training.partclipseg.recipe import PartCLIPSegRecipe
from training.run import DataSources, TrainerSettings, TrainingRun


def prepare(recipe: PartCLIPSegRecipe, sources: DataSources) -> PartCLIPSegRun:
    """Open the data and build the network.

    Raises:
        DatasetError: images or labels are missing or malformed.
        CheckpointError: the weights to start from are missing or of another model.
        UsageError: more than one data source.
    """
    optim, corrections = recipe.optim, recipe.corrections
    data = open_data(recipe.data, sources.single())
    model, query_encoder = build_network(recipe.model, corrections, data.vocabulary)
    module = PartCLIPSegTraining(
        model,
        query_encoder.text_encoder,
        data.vocabulary,
        optim,
        recipe.losses,
        train_towers=recipe.model.train_towers,
    )
    images = PartImagesModule(
        data,
        recipe.data,
        model.spec.preprocessing,
        batch=optim.batch,
        steps=optim.steps,
        score_on=recipe.score_on,
        rgb=corrections.rgb_training,
        unshifted=corrections.unshifted_labels,
    )
    return PartCLIPSegRun(recipe, module, query_encoder, images)


class PartCLIPSegRun(TrainingRun):
    """Network, photographs and trainer settings of one run.

    Args:
        recipe: every number.
        module: the network with its losses.
        query_encoder: owner of the text encoder that is trained with the network.
        images: the photographs.
    """

    def __init__(
        self,
        recipe: PartCLIPSegRecipe,
        module: PartCLIPSegTraining,
        query_encoder: ObjectPartEncoder,
        images: PartImagesModule,
    ) -> None:
        optim = recipe.optim
        settings = TrainerSettings(
            max_steps=optim.steps,
            precision=optim.precision,
            clip_norm=optim.clip_norm,
            ema_decay=optim.ema_decay,
            checkpoint_every=min(1000, optim.steps),
            log_every=min(10, optim.steps),
            score_every=min(optim.score_every or optim.steps, optim.steps),
            # random towers are trained whole, including layers that the decoder does not read
            find_unused_parameters=True,
        )
        super().__init__(
            module,
            images,
            settings,
            scored_on=recipe.score_on if len(images.score_images) else "",
            curves=("loss/total", "loss/separation", "loss/enhancement", "score/part_miou"),
        )
        self.name = recipe.name
        self.training = module
        self.query_encoder = query_encoder
        self.score_images = images.score_images

    def result(self) -> tuple[dict[str, Tensor], CheckpointInfo]:
        """Tensors of the network and its text encoder, and the header of their weights file."""
        model = self.training.model
        info = CheckpointInfo(self.name, "partclipseg", model.config, source="training")
        return full_state(model, self.query_encoder), info

    def draw(self, path: Path) -> None:
        """Draw predictions on the scored images."""
        if len(self.score_images):
            draw_predictions(self.training, self.score_images, path)
