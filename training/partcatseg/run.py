"""A training run of PartCATSeg or CAT-Seg, from its recipe and images."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ovps_core.checkpoints import CheckpointInfo
from ovps_core.checkpoints.file import full_state
from ovps_core.losses.partcatseg import PartCATSegLoss
from ovps_core.models.catseg.text import PromptBankEncoder
from ovps_core.models.interface import QueryEncoder
from ovps_core.models.partcatseg.model import PartCATSeg
from training.data import PartImagesModule, open_data
from training.partcatseg.module import CATSegTraining, PartCATSegTraining
from training.partcatseg.network import build_network
from training.partcatseg.recipe import CATSegRecipe, PartCATSegRecipe
from training.pictures import draw_predictions
from training.run import DataSources, TrainingRun, settings_by_steps


def prepare(recipe: CATSegRecipe, sources: DataSources) -> PartCATSegRun:
    """Open the data and build the network.

    Raises:
        DatasetError: images or labels are missing or malformed.
        CheckpointError: the weights to start from are missing or of another model.
        UsageError: more than one data source.
    """
    data = open_data(recipe.data, sources.single())
    model, query_encoder = build_network(recipe, data.vocabulary)
    text_encoder, towers = query_encoder.text_encoder, recipe.model.train_towers
    assert isinstance(text_encoder, PromptBankEncoder)
    val_vocabulary = data.val_vocabulary if recipe.score_on == "val" else None
    common = model, text_encoder, data.vocabulary, recipe.optim
    if isinstance(recipe, PartCATSegRecipe):
        assert isinstance(model, PartCATSeg)
        criterion = PartCATSegLoss(recipe.losses, recipe.corrections)
        module: CATSegTraining = PartCATSegTraining(
            model,
            *common[1:],
            criterion,
            train_towers=towers,
            val_vocabulary=val_vocabulary,
        )
    else:
        module = CATSegTraining(*common, train_towers=towers, val_vocabulary=val_vocabulary)
    images = PartImagesModule(
        data,
        recipe.data,
        model.spec.preprocessing,
        batch=recipe.optim.batch,
        seed=recipe.optim.seed,
        score_on=recipe.score_on,
        rgb=True,
        unshifted=True,
    )
    return PartCATSegRun(recipe, module, query_encoder, images)


class PartCATSegRun(TrainingRun):
    """Network, images and trainer settings of one run.

    Args:
        recipe: every number.
        module: the network with its losses.
        query_encoder: owner of the text encoder.
        images: the photographs or rendered scenes.
    """

    def __init__(
        self,
        recipe: CATSegRecipe,
        module: CATSegTraining,
        query_encoder: QueryEncoder,
        images: PartImagesModule,
    ) -> None:
        super().__init__(
            module,
            images,
            settings_by_steps(recipe.optim),
            scored_on=recipe.score_on if len(images.score_images) else "",
            curves=("loss/total", "loss/composition", "score/part_miou"),
        )
        self.name, self.family = recipe.name, recipe.family
        self.training = module
        self.query_encoder = query_encoder
        self.score_images = images.score_images

    def result(self) -> tuple[dict[str, Tensor], CheckpointInfo]:
        """Tensors of the network and its text encoder, and the header of their weights file."""
        model = self.training.model
        info = CheckpointInfo(self.name, self.family, model.config, source="training")
        return full_state(model, self.query_encoder), info

    def draw(self, path: Path) -> None:
        """Draw predictions on the scored images."""
        if len(self.score_images):
            draw_predictions(self.training, self.score_images, path)
