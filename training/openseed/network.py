"""The OpenSeeD of a recipe: new, or from existing weights."""

from __future__ import annotations

from dataclasses import replace

from ovps_core.checkpoints import find_weights, load_model
from ovps_core.checkpoints.file import full_state, load_full_state
from ovps_core.errors import CheckpointError
from ovps_core.models.backbones.timm_pyramid import TimmPyramid
from ovps_core.models.families import FAMILIES
from ovps_core.models.interface import QueryEncoder
from ovps_core.models.openseed.corrections import Corrections
from ovps_core.models.openseed.model import OpenSeeD
from training.backbone import imagenet_weights, subsample_convolutions
from training.openseed.recipe import ModelRecipe


def build_network(recipe: ModelRecipe, corrections: Corrections) -> tuple[OpenSeeD, QueryEncoder]:
    """Build an OpenSeeD and its query encoder, on the CPU.

    Raises:
        CheckpointError: the weights to start from are missing or of another model.
    """
    config, old = recipe.network, None
    if recipe.weights:
        old = load_model(find_weights(recipe.weights))
        if not isinstance(old.model, OpenSeeD):
            raise CheckpointError(
                f"{old.info} is a {old.info.model}; training starts from an OpenSeeD"
            )
        config = old.model.config
    config = replace(config, corrections=corrections)
    _, query_encoder = FAMILIES["openseed"].build(config)
    model = OpenSeeD(config, recipe.drop_path)
    if isinstance(model.backbone, TimmPyramid):
        if recipe.imagenet and old is None:
            model.backbone.trunk.load_state_dict(imagenet_weights(config.trunk))
        if recipe.freeze_filters:
            subsample_convolutions(model.backbone.trunk)
    if old is not None:
        load_full_state(model, query_encoder, full_state(old.model, old.query_encoder))
    return model, query_encoder
