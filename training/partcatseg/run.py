"""A training run of PartCATSeg or CAT-Seg, from its recipe and images."""

from __future__ import annotations

from ovps_core.losses.partcatseg import PartCATSegLoss
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
    if not isinstance(recipe, PartCATSegRecipe):
        return PartRun(recipe, CATSegTraining, model, query_encoder, data)
    criterion = PartCATSegLoss(recipe.losses, recipe.corrections)
    return PartRun(recipe, PartCATSegTraining, model, query_encoder, data, criterion=criterion)
