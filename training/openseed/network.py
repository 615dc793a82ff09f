"""The OpenSeeD of a recipe: new, or from existing weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from ovps_core.checkpoints import find_weights, load_model
from ovps_core.checkpoints.convert.key_names import StateDict
from ovps_core.checkpoints.convert.openseed import from_swin, from_text_tower
from ovps_core.checkpoints.convert.released_file import read_state
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
    elif old is None:
        _load_tower(model.backbone, recipe.backbone_weights, "backbone_weights", from_swin)
    if old is None:
        encoder = query_encoder.text_encoder
        assert encoder is not None
        _load_tower(encoder.tower, recipe.text_weights, "text_weights", from_text_tower)
    else:
        load_full_state(model, query_encoder, full_state(old.model, old.query_encoder))
    return model, query_encoder


def _load_tower(
    tower: nn.Module, path: str, key: str, rename: Callable[[StateDict], dict[str, Tensor]]
) -> None:
    """Load a tower from its own file; without one, say on stderr that it starts at random.

    The norms of a Swin's outputs are not in its file and start new.

    Raises:
        CheckpointError: the file cannot be read, or is of another tower.
    """
    if not path:
        print(f"model.{key} is empty: this tower starts from random weights", file=sys.stderr)
        return
    given, wanted = rename(read_state(Path(path))), tower.state_dict()
    wrong = [
        name
        for name, tensor in wanted.items()
        if not name.startswith("norms.")
        and (name not in given or given[name].shape != tensor.shape)
    ]
    if wrong:
        raise CheckpointError(
            f"{path}: {', '.join(wrong[:3])} are missing or of another shape; model.{key} needs a tower "
            "with the sizes of model.network"
        )
    fitting = {name: tensor for name, tensor in given.items() if name in wanted}
    tower.load_state_dict(fitting, strict=False)
