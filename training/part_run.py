"""A training run of a model with parts: CLIPSeg, PartCLIPSeg, PartCATSeg or CAT-Seg."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.labels import PartTargets
from ovps_core.models.clipseg.corrections import DataCorrections
from ovps_core.models.interface import QueryEncoder
from ovps_core.models.network import PartModel
from training.clipseg.recipe import CLIPSegRecipe
from training.data import PartImagesModule, TrainingData
from training.part_training import TowerTraining
from training.partcatseg.recipe import CATSegRecipe
from training.pictures import Answer, PreviewSample, unnormalised
from training.run import TrainingRun, settings_by_steps


class PartRun(TrainingRun):
    """Network, images and trainer settings of one run.

    Args:
        recipe: every number.
        training: class of the steps; the plot shows the losses of its progress bar.
        model: the network.
        query_encoder: owner of the text encoder.
        data: the photographs or rendered scenes.
        criterion: see :class:`TowerTraining`.
        corrections: of the pixels and labels to train on; all by default.
    """

    def __init__(
        self,
        recipe: CLIPSegRecipe | CATSegRecipe,
        training: type[TowerTraining],
        model: PartModel,
        query_encoder: QueryEncoder,
        data: TrainingData,
        *,
        criterion: Callable[..., Any] | None = None,
        corrections: DataCorrections | None = None,
    ) -> None:
        corrections = corrections or DataCorrections()
        assert query_encoder.text_encoder is not None
        module = training(
            model,
            query_encoder.text_encoder,
            data.vocabulary,
            recipe.optim,
            criterion,
            train_towers=recipe.model.train_towers,
            val_vocabulary=data.val_vocabulary if recipe.score_on == "val" else None,
        )
        images = PartImagesModule(
            data,
            recipe.data,
            model.spec.preprocessing,
            batch=recipe.optim.batch,
            seed=recipe.optim.seed,
            score_on=recipe.score_on,
            rgb=corrections.rgb_training,
            unshifted=corrections.unshifted_labels,
        )
        super().__init__(
            recipe,
            module,
            model,
            query_encoder,
            images,
            settings_by_steps(recipe.optim),
            scored_on=recipe.score_on if len(images.score_images) else "",
            curves=(*(f"loss/{name}" for name in module.in_bar), "score/part_miou"),
        )
        self.training = module
        self.left_out = images.left_out
        self.score_images = images.score_images

    def preview(self) -> Iterator[PreviewSample]:
        """Augmented training samples; the labels are object-parts."""
        preprocessing = self.model.spec.preprocessing
        for pixels, object_parts, _ in self.images.train_dataloader():
            for picture, labels in zip(pixels, object_parts, strict=True):
                yield PreviewSample(unnormalised(picture, preprocessing), labels.numpy())

    def answers(self) -> Iterator[Answer]:
        """True object-parts and the highest map per pixel, at the size of the logits."""
        training, device = self.training, self.training.device
        background = len(training.val_vocabulary.object_parts)
        for index in range(len(self.score_images)):
            pixels, *labels = (each[None] for each in self.score_images[index])
            truth = PartTargets(*labels)
            batch = pixels.to(device), truth.object_parts.to(device), truth.objects.to(device)
            maps = training.losses(batch, scoring=True)[1].object_parts
            predicted = maps[0].argmax(dim=0).cpu()
            predicted[predicted == background] = IGNORE
            true = truth.resized((maps.shape[-2], maps.shape[-1])).object_parts[0]
            rgb = unnormalised(pixels[0], self.model.spec.preprocessing)
            yield Answer(rgb, true.numpy(), predicted.numpy())
