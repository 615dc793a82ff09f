"""A training run of PartCATSeg or CAT-Seg, from its recipe and images."""

from __future__ import annotations

from ovps_core.losses.partcatseg import PartCATSegLoss
from ovps_core.models.catseg.text import PromptBankEncoder
from ovps_core.models.partcatseg.model import PartCATSeg
from training.data import open_data
from training.part_run import PartRun
from training.partcatseg.module import CATSegTraining, PartCATSegTraining
from training.partcatseg.network import build_network
from training.partcatseg.recipe import CATSegRecipe, PartCATSegRecipe
from training.run import DataSources


def prepare(recipe: CATSegRecipe, sources: DataSources) -> PartRun:
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
    return PartRun(recipe, module, query_encoder, data)
