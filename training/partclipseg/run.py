"""A training run of PartCLIPSeg, from its recipe and photographs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ovps_core.checkpoints import CheckpointInfo
from ovps_core.checkpoints.file import full_state
from ovps_core.models.partclipseg.query_encoder import ObjectPartEncoder
from training.data import PartImagesModule, open_data
from training.partclipseg.module import PartCLIPSegTraining
from training.partclipseg.network import build_network
from training.partclipseg.recipe import PartCLIPSegRecipe
from training.pictures import draw_predictions
from training.run import DataSources, Shown, TrainingRun, settings_by_steps


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
        val_vocabulary=data.val_vocabulary if recipe.score_on == "val" else None,
    )
    images = PartImagesModule(
        data,
        recipe.data,
        model.spec.preprocessing,
        batch=optim.batch,
        seed=optim.seed,
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
        super().__init__(
            module,
            images,
            settings_by_steps(recipe.optim),
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

    def shown(self) -> Iterator[Shown]:
        """Augmented training samples; the labels are object-parts."""
        preprocessing = self.training.model.spec.preprocessing
        mean, std = (
            torch.tensor(v)[:, None, None] for v in (preprocessing.mean, preprocessing.std)
        )
        for pixels, object_parts, _ in self.images.train_dataloader():
            for picture, labels in zip(pixels, object_parts, strict=True):
                rgb = ((picture * std + mean).clamp(0, 1) * 255).byte().permute(1, 2, 0)
                yield Shown(rgb.numpy(), labels.numpy())

    def draw(self, path: Path) -> None:
        """Draw predictions on the scored images."""
        if len(self.score_images):
            draw_predictions(self.training, self.score_images, path)
