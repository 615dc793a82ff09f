"""A training run of PartCLIPSeg, from its recipe and photographs."""

from __future__ import annotations

from ovps_core.losses.partclipseg import PartCLIPSegLoss
from training.data import open_data
from training.part_run import PartRun
from training.partclipseg.module import PartCLIPSegTraining
from training.partclipseg.network import build_network
from training.partclipseg.recipe import PartCLIPSegRecipe
from training.run import DataSources


def prepare(recipe: PartCLIPSegRecipe, sources: DataSources) -> PartRun:
    """Open the data and build the network.

    Raises:
        DatasetError: images or labels are missing or malformed.
        CheckpointError: the weights to start from are missing or of another model.
        UsageError: more than one data source.
    """
    data = open_data(recipe.data, sources.single())
    model, query_encoder = build_network(recipe.model, recipe.corrections, data.vocabulary)
    return PartRun(
        recipe,
        PartCLIPSegTraining,
        model,
        query_encoder,
        data,
        criterion=PartCLIPSegLoss(recipe.losses, model.config.corrections),
        corrections=recipe.corrections,
    )
