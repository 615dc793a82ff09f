"""The PartCLIPSeg of a recipe: new, from pretrained towers, or from existing weights."""

from __future__ import annotations

import dataclasses

from ovps_core.checkpoints import find_weights, load_model
from ovps_core.checkpoints.file import full_state, load_full_state
from ovps_core.errors import CheckpointError
from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.backbones.clip_vit import clip_backbone, pretrained_clip
from ovps_core.models.clipseg.model import CLIPSeg, CLIPSegConfig
from ovps_core.models.families import FAMILIES
from ovps_core.models.partclipseg.corrections import Corrections
from ovps_core.models.partclipseg.model import PartCLIPSeg, PartCLIPSegConfig
from ovps_core.models.partclipseg.query_encoder import ObjectPartEncoder
from training.backbone import load_pretrained_trunk
from training.partclipseg.recipe import ModelRecipe


def build_network(
    recipe: ModelRecipe, corrections: Corrections, vocabulary: Vocabulary
) -> tuple[PartCLIPSeg, ObjectPartEncoder]:
    """Build a PartCLIPSeg and its query encoder, on the CPU; the configuration records the vocabulary.

    Raises:
        CheckpointError: the weights to start from are missing or of another model.
    """
    if recipe.weights:
        return _from_weights(recipe.weights, corrections, vocabulary)
    config = PartCLIPSegConfig(
        clip=recipe.clip,
        backbone=recipe.backbone,
        out_indices=recipe.out_indices,
        image_size=recipe.image_size,
        dim=recipe.dim,
        heads=recipe.heads,
        mlp_dim=recipe.mlp_dim,
        corrections=corrections,
        trained_object_parts=vocabulary.object_parts,
    )
    model, query_encoder = _build(config)
    if recipe.pretrained:
        assert isinstance(recipe.clip, str)  # the recipe refuses anything else
        towers = pretrained_clip(recipe.clip, recipe.pretrained)
        query_encoder.text_encoder.tower.load_state_dict(towers.text.state_dict())
        if not recipe.backbone:
            model.backbone.load_state_dict(
                clip_backbone(towers.visual, recipe.out_indices).state_dict()
            )
    if recipe.backbone and recipe.backbone_pretrained:
        load_pretrained_trunk(model.backbone, recipe.backbone)
    return model, query_encoder


def _build(config: PartCLIPSegConfig) -> tuple[PartCLIPSeg, ObjectPartEncoder]:
    model, query_encoder = FAMILIES["partclipseg"].build(config)
    assert isinstance(model, PartCLIPSeg) and isinstance(query_encoder, ObjectPartEncoder)
    return model, query_encoder


def _from_weights(
    name: str, corrections: Corrections, vocabulary: Vocabulary
) -> tuple[PartCLIPSeg, ObjectPartEncoder]:
    """A PartCLIPSeg with the weights of another one, or of a CLIPSeg as the paper starts."""
    old = load_model(find_weights(name))
    if not isinstance(old.model, CLIPSeg):
        raise CheckpointError(
            f"{old.info} is a {old.info.model}; training starts from a CLIPSeg or PartCLIPSeg"
        )
    shared = {f.name: getattr(old.info.config, f.name) for f in dataclasses.fields(CLIPSegConfig)}
    config = PartCLIPSegConfig(
        **shared, corrections=corrections, trained_object_parts=vocabulary.object_parts
    )
    model, query_encoder = _build(config)
    state = full_state(old.model, old.query_encoder)
    load_full_state(model, query_encoder, state, strict=False)
    if not isinstance(old.model, PartCLIPSeg):
        model.start_pair_head()
    return model, query_encoder
