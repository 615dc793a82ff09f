"""A training run of CLIPSeg, from its recipe and images."""

from __future__ import annotations

from training.clipseg.module import CLIPSegTraining
from training.clipseg.network import build_network
from training.clipseg.recipe import CLIPSegRecipe
from training.data import open_data
from training.part_run import PartRun
from training.run import DataSources


def prepare(recipe: CLIPSegRecipe, sources: DataSources) -> PartRun:
    """Open the data and build the network.

    Raises:
        DatasetError: images or labels are missing or malformed.
        CheckpointError: the weights to start from are missing or of another model.
        UsageError: more than one data source.
    """
    data = open_data(recipe.data, sources.single())
    model, query_encoder = build_network(recipe.model, data.vocabulary)
    corrections = recipe.corrections
    return PartRun(recipe, CLIPSegTraining, model, query_encoder, data, corrections=corrections)
