"""A training run of OpenSeeD, from its recipe and COCO files."""

from __future__ import annotations

from collections.abc import Iterator

from ovps_core.datasets.coco_objects import CocoObjects
from ovps_core.errors import UsageError
from ovps_core.language.object_names import ObjectNames
from ovps_core.models.interface import QueryEncoder
from ovps_core.models.openseed.text import NameEncoder
from training.openseed.data import ObjectCropsModule
from training.openseed.module import OpenSeeDTraining
from training.openseed.network import build_network
from training.openseed.pictures import answer_of, sample_of
from training.openseed.recipe import OpenSeeDRecipe
from training.openseed.shards import ObjectShards
from training.pictures import Answer, PreviewSample
from training.run import DataSources, TrainingRun, settings_by_steps


def prepare(recipe: OpenSeeDRecipe, sources: DataSources) -> OpenSeeDRun:
    """Open the data and build the network.

    Raises:
        DatasetError: annotations or images are missing or malformed.
        CheckpointError: the weights to start from are missing or of another model.
        UsageError: no data are given.
    """
    if not sources.train:
        raise UsageError("give the COCO files to learn from: --data FILE.json [FILE.json ...]")
    optim = recipe.optim
    model, query_encoder = build_network(recipe.model, recipe.corrections)
    images = ObjectCropsModule(
        sources.train,
        sources.val,
        recipe.data,
        model.spec.preprocessing,
        batch=optim.batch,
        seed=optim.seed,
        score_on_train=recipe.score_on == "train",
    )
    text_encoder = query_encoder.text_encoder
    assert isinstance(text_encoder, NameEncoder)
    module = OpenSeeDTraining(
        model,
        text_encoder,
        [_names(source) for source in images.sources],
        _names(images.scored) if images.scored else None,
        optim,
        recipe.losses,
    )
    return OpenSeeDRun(recipe, module, query_encoder, images)


def _names(source: CocoObjects | ObjectShards) -> ObjectNames:
    return ObjectNames(source.things, source.stuff)


class OpenSeeDRun(TrainingRun):
    """Network, photographs and trainer settings of one run.

    Args:
        recipe: every number.
        module: the network with its losses.
        query_encoder: owner of the text encoder that is trained with the network.
        images: the photographs.
    """

    best_by = ("score/found",)

    def __init__(
        self,
        recipe: OpenSeeDRecipe,
        module: OpenSeeDTraining,
        query_encoder: QueryEncoder,
        images: ObjectCropsModule,
    ) -> None:
        super().__init__(
            recipe,
            module,
            module.model,
            query_encoder,
            images,
            settings_by_steps(recipe.optim),
            scored_on=("val" if recipe.score_on == "val" else "train") if images.scored else "",
            curves=("loss/total", "loss/classes", "loss/masks", "score/found"),
        )
        self.training = module
        self.left_out = images.left_out
        self.crops = images

    def preview(self) -> Iterator[PreviewSample]:
        """Augmented training samples of each data file in turn, with masks, boxes and names."""
        preprocessing = self.model.spec.preprocessing
        for batches in zip(*self.crops.train_dataloader(), strict=True):
            for source, (pixels, targets) in zip(self.crops.sources, batches, strict=True):
                for picture, target in zip(pixels, targets, strict=True):
                    yield sample_of(picture, target, source.names, preprocessing)

    def answers(self) -> Iterator[Answer]:
        """As many of the best answers as an image has objects, a colour for each name."""
        scored, crops = self.crops.scored, self.crops.score_crops
        if scored is None or crops is None:
            return
        device, preprocessing = self.training.device, self.model.spec.preprocessing
        names = self.training.text_encoder.encode(scored.names)
        for index in range(len(crops)):
            pixels, target = crops[index]
            predictions = self.training.model.detect(
                self.training.model.encode(pixels[None].to(device)), names
            )
            yield answer_of(pixels, target, predictions, preprocessing)
