"""Conversion of released OpenSeeD weights."""

from __future__ import annotations

import re

import numpy as np
from torch import Tensor

from ovps_core.checkpoints.convert.key_names import StateDict, count_modules, rename
from ovps_core.checkpoints.convert.released_file import EXPECTED, ReleasedWeights
from ovps_core.checkpoints.file import CheckpointInfo
from ovps_core.errors import CheckpointError
from ovps_core.models.openseed.config import OpenSeeDConfig, SwinConfig, TextConfig
from ovps_core.models.openseed.corrections import Corrections

_PIXEL = r"sem_seg_head\.pixel_decoder\."
_PREDICTOR = r"sem_seg_head\.predictor\."
_TEXT = _PREDICTOR + r"lang_encoder\.lang_encoder\."
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"backbone\.norm(\d)\.", r"backbone.norms.\1."),
    (_PIXEL + r"input_proj\.", r"pixel_encoder.input_proj."),
    (_PIXEL + r"transformer\.level_embed", r"pixel_encoder.level_embed"),
    (_PIXEL + r"transformer\.encoder\.layers\.", r"pixel_encoder.layers."),
    (_PIXEL + r"adapter_1\.norm\.", r"pixel_encoder.lateral.1."),
    (_PIXEL + r"adapter_1\.", r"pixel_encoder.lateral.0."),
    (_PIXEL + r"layer_1\.norm\.", r"pixel_encoder.smooth.1."),
    (_PIXEL + r"layer_1\.", r"pixel_encoder.smooth.0."),
    (_PIXEL + r"mask_features\.", r"pixel_encoder.mask_features."),
    (_PREDICTOR + r"enc_output\.", r"selection.proj."),
    (_PREDICTOR + r"enc_output_norm\.", r"selection.norm."),
    (_PREDICTOR + r"class_embed", r"heads.class_embed"),
    (_PREDICTOR + r"lang_mapper", r"name_to_query"),
    (_PREDICTOR + r"mask_embed\.", r"heads.mask_embed."),
    (_PREDICTOR + r"query_feat\.weight", r"stuff_contents"),
    (_PREDICTOR + r"query_embed\.weight", r"stuff_anchors"),
    # One normalisation and one box head serve all layers, and are listed under each place of use.
    (_PREDICTOR + r"decoder_norm\.", r"heads.norm."),
    (_PREDICTOR + r"decoder\.norm\.", r"heads.norm."),
    (_PREDICTOR + r"_bbox_embed\.", r"heads.box_embed."),
    (_PREDICTOR + r"(?:decoder\.)?bbox_embed\.\d+\.", r"heads.box_embed."),
    (_PREDICTOR + r"decoder\.", r"decoder."),
    (_PREDICTOR + r"lang_encoder\.logit_scale", r"heads.logit_scale"),
    (_PREDICTOR + r"lang_encoder\.lang_proj", r"text.tower.text_projection"),
    (_TEXT + r"resblocks\.", r"text.tower.transformer.resblocks."),
    (_TEXT, r"text.tower."),
)
_UNUSED = re.compile(r"relative_position_index$|^criterion\w*\.empty_weight$")
_PIXEL_VALUES = {"pixel_mean": (123.675, 116.28, 103.53), "pixel_std": (58.395, 57.12, 57.375)}
"""Normalisation of pictures RGB in 0..255, where a file holds it."""
_OF_CLASSIFIER = re.compile(r"backbone\.(?:norm|head)\.|.*\.attn_mask$")
_WRAPPER = "model."
_TEXT_HEAD_WIDTH = 64


def is_openseed_release(state: StateDict) -> bool:
    """Return whether the tensors are of a released OpenSeeD."""
    return any(
        key.removeprefix(_WRAPPER).startswith("sem_seg_head.predictor.lang_encoder.")
        for key in state
    )


def openseed_key(released: str) -> str | None:
    """Name in an OVPS file of a tensor in a released OpenSeeD; None if it is a constant that is computed here.

    Several released names have one name here where the release lists a shared module more than once. An unknown
    name is kept, so that an error can list it.
    """
    name = released.removeprefix(_WRAPPER)
    if _UNUSED.search(name):
        return None
    return rename(name, _RENAMES)


def released_openseed_key(ours: str) -> str:
    """Name in a released OpenSeeD of a tensor in an OVPS file; the first, where it has several.

    >>> released_openseed_key("name_to_query")
    'sem_seg_head.predictor.lang_mapper'
    """
    for pattern, replacement in _RENAMES:
        if ours.startswith(replacement):
            return pattern.replace("\\", "") + ours.removeprefix(replacement)
    return re.sub(r"^backbone\.norms\.", "backbone.norm", ours)


def from_openseed(state: StateDict) -> dict[str, Tensor]:
    """Rename the tensors of a released OpenSeeD; shared ones are kept once.

    ``state`` is emptied on the way, so that the weights are never in memory twice.

    Raises:
        CheckpointError: two tensors that should be one differ, or pictures are normalised in another way.
    """
    ours: dict[str, Tensor] = {}
    for released in list(state):
        name, tensor = openseed_key(released), state.pop(released)
        if name is None:
            continue
        if name in _PIXEL_VALUES:
            _check_normalisation(released, tensor, _PIXEL_VALUES[name])
            continue
        if name in ours and not ours[name].equal(tensor):
            raise CheckpointError(
                f"the weights hold two versions of {name}, the second as {released}; expected equal "
                "tensors, since the layers of an OpenSeeD share this module"
            )
        ours.setdefault(name, tensor)
    return ours


def _check_normalisation(released: str, tensor: Tensor, expected: tuple[float, ...]) -> None:
    values = tuple(tensor.flatten().tolist())
    if len(values) != len(expected) or not np.allclose(values, expected, atol=0.01):
        raise CheckpointError(
            f"{released} is {values}, expected {expected}, by which every released OpenSeeD normalises pictures"
        )


def from_swin(state: StateDict) -> dict[str, Tensor]:
    """Rename the tensors of a Swin as its authors publish it for ImageNet, without its classifier."""
    named = ((re.sub(r"^(?:backbone\.)?", "backbone.", name), each) for name, each in state.items())
    tensors = ((openseed_key(name), each) for name, each in named)
    return {
        name.removeprefix("backbone."): each
        for name, each in tensors
        if name and not _OF_CLASSIFIER.match(name)
    }


def from_text_tower(state: StateDict) -> dict[str, Tensor]:
    """Rename the tensors of a text tower of CLIP or of UniCL, whatever precedes ``lang_encoder``."""
    ours = {}
    for name, tensor in state.items():
        name = re.sub(r"^(?:.*\blang_encoder\.)?(?:transformer\.)?", "", name)
        name = re.sub(r"^resblocks\.", "transformer.resblocks.", name)
        ours["text_projection" if name == "lang_proj" else name] = tensor
    return ours


def convert_openseed_release(weights: ReleasedWeights) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """Convert a released OpenSeeD of any variant; returns the header without a name, and the tensors.

    Raises:
        CheckpointError: a tensor is missing that the sizes are read from.
    """
    state = from_openseed(weights.state)
    info = CheckpointInfo("", "openseed", openseed_config(state), licence="Apache-2.0")
    return info, {name: tensor.contiguous() for name, tensor in state.items()}


def openseed_config(state: dict[str, Tensor]) -> OpenSeeDConfig:
    """Read the sizes of an OpenSeeD from its tensors under the names of an OVPS file.

    The numbers of heads outside the backbone do not show in the tensors: 8 in the decoders, 64 channels each in
    the text tower, as in every released variant.

    Raises:
        CheckpointError: a tensor is missing that the sizes are read from.
    """
    try:
        context_length, text_width = state["text.tower.positional_embedding"].shape
        levels, dim = state["pixel_encoder.level_embed"].shape
        stuff = ("stuff_contents", "stuff_anchors")
        stuff_queries = next((len(state[name]) for name in stuff if name in state), 0)
        return OpenSeeDConfig(
            backbone=_swin_config(state),
            text=TextConfig(
                context_length=context_length,
                vocab_size=len(state["text.tower.token_embedding.weight"]),
                width=text_width,
                heads=max(1, text_width // _TEXT_HEAD_WIDTH),
                layers=count_modules(state, "text.tower.transformer.resblocks"),
            ),
            text_dim=state["heads.class_embed"].shape[1],
            dim=dim,
            mlp_dim=len(state["decoder.layers.0.linear1.weight"]),
            levels=levels,
            encoder_layers=count_modules(state, "pixel_encoder.layers"),
            decoder_layers=count_modules(state, "decoder.layers"),
            points=len(state["decoder.layers.0.cross_attn.attention_weights.bias"]) // (8 * levels),
            stuff_queries=stuff_queries,
            max_instances=300 if stuff_queries else 100,
            corrections=Corrections.released(),
        )
    except KeyError as error:
        raise CheckpointError(
            f"the weights lack {released_openseed_key(error.args[0])}, which every OpenSeeD has; {EXPECTED}"
        ) from error


def _swin_config(state: dict[str, Tensor]) -> SwinConfig:
    stages = range(count_modules(state, "backbone.norms"))
    tables = [
        state[f"backbone.layers.{stage}.blocks.0.attn.relative_position_bias_table"]
        for stage in stages
    ]
    return SwinConfig(
        width=len(state["backbone.patch_embed.norm.weight"]),
        depths=tuple(count_modules(state, f"backbone.layers.{stage}.blocks") for stage in stages),
        heads=tuple(table.shape[1] for table in tables),
        window=(round(len(tables[0]) ** 0.5) + 1) // 2,
    )
