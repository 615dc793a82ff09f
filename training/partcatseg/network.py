"""The PartCATSeg or CAT-Seg of a recipe: new, from pretrained towers, or from existing weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor

from ovps_core.checkpoints import find_weights, load_model
from ovps_core.checkpoints.file import full_state, load_full_state
from ovps_core.errors import CheckpointError, ConfigError
from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.backbones.clip_vit import pretrained_clip
from ovps_core.models.backbones.dense_clip import DenseClip
from ovps_core.models.catseg.config import CATSegConfig
from ovps_core.models.catseg.guidance import build_guidance_tower
from ovps_core.models.catseg.model import CATSeg
from ovps_core.models.families import FAMILIES
from ovps_core.models.interface import QueryEncoder
from ovps_core.models.partcatseg.model import PartCATSeg, PartCATSegConfig
from training.backbone import load_packaged_weights
from training.partcatseg.recipe import CATSegRecipe, ModelRecipe, PartCATSegRecipe

_GUIDANCE = "guidance.tower."
_CLIP = ("backbone.", "text.")
"""Starts of the names of the tensors of the guidance model and of CLIP."""


def build_network(recipe: CATSegRecipe, vocabulary: Vocabulary) -> tuple[CATSeg, QueryEncoder]:
    """Build the network of a recipe and its query encoder, on the CPU.

    Raises:
        CheckpointError: the weights to start from are missing or of another model.
        ConfigError: windows of the aggregation do not fit the image.
    """
    kind = PartCATSegConfig if isinstance(recipe, PartCATSegRecipe) else CATSegConfig
    fields = {field.name for field in dataclasses.fields(CATSegConfig)}
    values = {k: v for k, v in vars(recipe.model).items() if k in fields}
    values["trained_object_parts"] = vocabulary.object_parts
    if isinstance(recipe, PartCATSegRecipe):
        values["corrections"] = recipe.corrections
    model, query_encoder = FAMILIES[recipe.family].build(kind(**values))
    assert isinstance(model, CATSeg)
    _check_window(recipe.model, model.backbone.stride)
    old, state = _weights(recipe.model.weights)
    _load_towers(recipe.model, model, query_encoder, state)
    _load_fitting(model, query_encoder, state)
    if (
        isinstance(model, PartCATSeg)
        and not isinstance(old, PartCATSeg)
        and model.config.corrections.pretrained_pair_branch
    ):
        model.start_from_first_branch()
    return model, query_encoder


def _check_window(recipe: ModelRecipe, stride: int) -> None:
    cells, window = recipe.image_size // stride, recipe.window
    if cells > window and cells % window:
        fitting = ", ".join(str(side) for side in range(2, cells + 1) if cells % side == 0)
        raise ConfigError(
            f"model: window is {window}, but an image_size of {recipe.image_size} has {cells} cells a side; "
            f"expected a side that divides them: {fitting}"
        )


def _load_towers(
    recipe: ModelRecipe, model: CATSeg, query_encoder: QueryEncoder, state: Mapping[str, Tensor]
) -> None:
    """Load the published weights of the towers that a recipe names, unless ``state`` has them."""
    if recipe.pretrained and not recipe.weights:
        assert isinstance(recipe.clip, str)  # the recipe refuses anything else
        clip = pretrained_clip(recipe.clip, recipe.pretrained)
        assert query_encoder.text_encoder is not None
        query_encoder.text_encoder.tower.load_state_dict(clip.text.state_dict())
        model.backbone.load_state_dict(DenseClip.of(clip).state_dict())
    if (
        recipe.guidance_pretrained
        and model.guidance is not None
        and not _has_guidance(model, state)
    ):
        name = recipe.guidance if isinstance(recipe.guidance, str) else recipe.guidance["name"]
        if not load_packaged_weights(model.guidance.tower, name):
            tower = build_guidance_tower(recipe.guidance, pretrained=True)
            model.guidance.tower.load_state_dict(tower.state_dict())


def _weights(name: str) -> tuple[CATSeg | None, dict[str, Tensor]]:
    """The model to start from and its tensors; none without a name."""
    if not name:
        return None, {}
    old = load_model(find_weights(name))
    if not isinstance(old.model, CATSeg):
        raise CheckpointError(
            f"{old.info} is a {old.info.model}; training starts from a CAT-Seg or PartCATSeg"
        )
    return old.model, full_state(old.model, old.query_encoder)


def _load_fitting(model: CATSeg, query_encoder: QueryEncoder, state: Mapping[str, Tensor]) -> None:
    """Load the tensors that fit; a guidance model that differs in one tensor is another one, as a whole."""
    ours = full_state(model, query_encoder)
    fitting = {k: t for k, t in state.items() if k in ours and ours[k].shape == t.shape}
    other = [k for k in ours if k.startswith(_CLIP) and k not in fitting]
    if state and other:
        raise CheckpointError(
            f"model: the CLIP of the weights to start from differs from that of `clip` in {other[0]}; "
            "give `clip` its sizes"
        )
    if not _has_guidance(model, state):
        fitting = {k: t for k, t in fitting.items() if not k.startswith(_GUIDANCE)}
    load_full_state(model, query_encoder, fitting, strict=False)


def _has_guidance(model: CATSeg, state: Mapping[str, Tensor]) -> bool:
    """Whether tensors of a file are those of this guidance model."""
    ours = {k: t.shape for k, t in model.state_dict().items() if k.startswith(_GUIDANCE)}
    return ours == {k: t.shape for k, t in state.items() if k.startswith(_GUIDANCE)}
