"""A training run of a model with parts: PartCLIPSeg, PartCATSeg or CAT-Seg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ovps_core.models.interface import QueryEncoder
from training.data import PartImagesModule
from training.part_training import PartTraining
from training.partcatseg.recipe import CATSegRecipe
from training.partclipseg.recipe import PartCLIPSegRecipe
from training.pictures import draw_predictions, unnormalised
from training.run import PreviewSample, TrainingRun, settings_by_steps


class PartRun(TrainingRun):
    """Network, images and trainer settings of one run.

    Args:
        recipe: every number.
        module: the network with its losses; the plot shows those of its progress bar.
        query_encoder: owner of the text encoder.
        images: the photographs or rendered scenes.
    """

    def __init__(
        self,
        recipe: PartCLIPSegRecipe | CATSegRecipe,
        module: PartTraining,
        query_encoder: QueryEncoder,
        images: PartImagesModule,
    ) -> None:
        super().__init__(
            recipe,
            module,
            module.model,
            query_encoder,
            images,
            settings_by_steps(recipe.optim),
            scored_on=recipe.score_on if len(images.score_images) else "",
            curves=(*(f"loss/{name}" for name in module.in_bar), "score/part_miou"),
        )
        self.training = module
        self.score_images = images.score_images

    def preview(self) -> Iterator[PreviewSample]:
        """Augmented training samples; the labels are object-parts."""
        preprocessing = self.model.spec.preprocessing
        for pixels, object_parts, _ in self.images.train_dataloader():
            for picture, labels in zip(pixels, object_parts, strict=True):
                rgb = (unnormalised(picture, preprocessing) * 255).byte()
                yield PreviewSample(rgb.numpy(), labels.numpy())

    def draw(self, path: Path) -> None:
        """Draw predictions on the scored images."""
        if len(self.score_images):
            draw_predictions(self.training, self.score_images, path)
