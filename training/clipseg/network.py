"""The CLIPSeg of a recipe: new, from pretrained towers, or from existing weights."""

from __future__ import annotations

import dataclasses
from typing import Any

from ovps_core.checkpoints import find_weights, load_model
from ovps_core.checkpoints.file import LoadedModel, full_state, load_full_state
from ovps_core.errors import CheckpointError
from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.backbones.clip_vit import clip_backbone, pretrained_clip
from ovps_core.models.clipseg.model import CLIPSeg, CLIPSegConfig
from ovps_core.models.clipseg.query_encoder import AdaptedPhraseEncoder
from ovps_core.models.families import FAMILIES
from ovps_core.models.interface import QueryEncoder
from training.backbone import load_pretrained_trunk
from training.clipseg.recipe import ModelRecipe


def build_network(
    recipe: ModelRecipe, vocabulary: Vocabulary
) -> tuple[CLIPSeg, AdaptedPhraseEncoder]:
    """Build a CLIPSeg and its query encoder, on the CPU; the configuration records the vocabulary.

    Raises:
        CheckpointError: the weights to start from are missing or of another model.
    """
    values = {"trained_object_parts": vocabulary.object_parts}
    model, query_encoder, _ = build_family("clipseg", recipe, values)
    assert isinstance(query_encoder, AdaptedPhraseEncoder)
    return model, query_encoder


def build_family(
    family: str, recipe: ModelRecipe, values: dict[str, Any]
) -> tuple[CLIPSeg, QueryEncoder, CLIPSeg | None]:
    """Build the network of a family that derives from CLIPSeg, its query encoder, and what it starts from.

    Args:
        family: a key of ``FAMILIES``.
        recipe: sizes and weights.
        values: fields of the configuration that are not in the recipe.

    Raises:
        CheckpointError: the weights to start from are missing or of another model.
    """
    old = _weights(recipe.weights) if recipe.weights else None
    sizes = old.info.config if old else recipe
    fields = [
        field.name for field in dataclasses.fields(CLIPSegConfig) if hasattr(sizes, field.name)
    ]
    config = FAMILIES[family].config(**{name: getattr(sizes, name) for name in fields} | values)
    model, query_encoder = FAMILIES[family].build(config)
    assert isinstance(model, CLIPSeg)
    if old is None:
        _load_towers(recipe, model, query_encoder)
        return model, query_encoder, None
    load_full_state(model, query_encoder, full_state(old.model, old.query_encoder), strict=False)
    assert isinstance(old.model, CLIPSeg)
    return model, query_encoder, old.model


def _weights(name: str) -> LoadedModel:
    """The model to start from, as the paper starts from a CLIPSeg."""
    old = load_model(find_weights(name))
    if not isinstance(old.model, CLIPSeg):
        raise CheckpointError(
            f"{old.info} is a {old.info.model}; training starts from a CLIPSeg or PartCLIPSeg"
        )
    return old


def _load_towers(recipe: ModelRecipe, model: CLIPSeg, query_encoder: QueryEncoder) -> None:
    """Load the published weights of the towers that a recipe names."""
    if recipe.pretrained:
        assert isinstance(recipe.clip, str)  # the recipe refuses anything else
        towers = pretrained_clip(recipe.clip, recipe.pretrained)
        assert query_encoder.text_encoder is not None
        query_encoder.text_encoder.tower.load_state_dict(towers.text.state_dict())
        if not recipe.backbone:
            model.backbone.load_state_dict(
                clip_backbone(towers.visual, recipe.out_indices).state_dict()
            )
    if recipe.backbone and recipe.backbone_pretrained:
        load_pretrained_trunk(model.backbone, recipe.backbone)
