"""Conversion of released PartCATSeg and CAT-Seg weights."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ovps_core.checkpoints.convert.key_names import StateDict, count_modules, rename
from ovps_core.checkpoints.convert.released_file import EXPECTED, ReleasedWeights
from ovps_core.checkpoints.file import CheckpointInfo
from ovps_core.errors import CheckpointError
from ovps_core.language.vocabulary import load_vocabulary
from ovps_core.models.catseg.config import CATSegConfig, GuidanceSpec
from ovps_core.models.partcatseg.corrections import Corrections
from ovps_core.models.partcatseg.model import PartCATSegConfig

_DINO_SIZES = {384: "small", 768: "base", 1024: "large"}  # timm's names by width
_RESNETS = {6: "resnet50", 23: "resnet101"}  # timm's names by blocks of the third stage
_FIRST = "sem_seg_head.predictor.transformer"
_HEAD = r"sem_seg_head\.predictor\."
_CLIP = _HEAD + r"clip_model\."
_TRANSFORMER = _HEAD + r"transformer\."
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"backbone\.dinov2\.", r"guidance.tower."),
    (r"backbone\.stem\.conv1\.norm\.", r"guidance.tower.bn1."),
    (r"backbone\.stem\.conv1\.", r"guidance.tower.conv1."),
    (r"backbone\.res2\.", r"guidance.tower.layer1."),
    (r"backbone\.res3\.", r"guidance.tower.layer2."),
    (r"backbone\.res4\.", r"guidance.tower.layer3."),
    (_CLIP + r"visual\.", r"backbone.tower.visual."),
    (_CLIP, r"text.tower."),
    (_HEAD + r"non_object_embedding", r"background"),
    (_TRANSFORMER + r"conv1\.", r"branch.embed."),
    (_TRANSFORMER + r"layers\.", r"branch.layers."),
    (_TRANSFORMER + r"layers_object\.", r"object_layers."),
    (_TRANSFORMER + r"conv2\.", r"pair_branch.embed."),
    (_TRANSFORMER + r"layers_specific_part\.", r"pair_branch.layers."),
    (_TRANSFORMER + r"conv_proj_feat\.", r"pair_projection."),
    (_TRANSFORMER + r"text_guidance_projection\.0\.", r"text_projection."),
    (_TRANSFORMER + r"guidance_projection\.0\.", r"guidance_projection.convs.0."),
    (_TRANSFORMER + r"decoder_guidance_projection\.0\.0\.", r"guidance_projection.convs.1."),
    (_TRANSFORMER + r"decoder_guidance_projection\.1\.0\.", r"guidance_projection.convs.2."),
    (_TRANSFORMER + r"decoder1\.", r"decoder.steps.0."),
    (_TRANSFORMER + r"decoder2\.", r"decoder.steps.1."),
    (_TRANSFORMER + r"head\.", r"decoder.head."),
)
_LAYER: tuple[tuple[str, str], ...] = (
    (r"\.swin_block\.guidance_norm\.", r".spatial.guidance_norm."),
    (r"\.swin_block\.block_1\.", r".spatial.blocks.0."),
    (r"\.swin_block\.block_2\.", r".spatial.blocks.1."),
    (r"\.attention\.attention\.", r".classes."),
    (r"\.attention\.MLP\.", r".classes.mlp."),
    (r"\.attention\.norm", r".classes.norm"),
)
_STEP: tuple[tuple[str, str], ...] = (
    (r"\.conv\.double_conv\.0\.", r".conv1."),
    (r"\.conv\.double_conv\.1\.", r".norm1."),
    (r"\.conv\.double_conv\.3\.", r".conv2."),
    (r"\.conv\.double_conv\.4\.", r".norm2."),
)
_RESNET: tuple[tuple[str, str], ...] = (
    (r"\.shortcut\.norm\.", r".downsample.1."),
    (r"\.shortcut\.", r".downsample.0."),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
)
_INNER = {
    "branch.": _LAYER,
    "pair_branch.": _LAYER,
    "object_layers.": _LAYER,
    "decoder.": _STEP,
    "guidance.": _RESNET,
}
# Constants that are computed here, and tensors that no output depends on.
_UNUSED = re.compile(r"\.attn_mask$|^backbone\.dinov2\.mask_token$|clip_model\.logit_scale$")


def catseg_key(released: str) -> str | None:
    """Name in an OVPS file of a tensor in a released PartCATSeg or CAT-Seg; None if it is not used.

    An unknown name is kept, so that an error can list it.
    """
    if _UNUSED.search(released):
        return None
    name = rename(released, _RENAMES)
    if name == released:
        return released
    inner = next((table for stem, table in _INNER.items() if name.startswith(stem)), ())
    return rename(name, inner, everywhere=True)


def from_catseg(state: StateDict) -> dict[str, Tensor]:
    """Rename the tensors of a released PartCATSeg or CAT-Seg.

    ``state`` is emptied on the way, so that the weights are never in memory twice.
    """
    ours: dict[str, Tensor] = {}
    for released in list(state):
        name, tensor = catseg_key(released), state.pop(released)
        if name is not None:
            ours[name] = tensor
    return ours


def is_catseg_release(state: StateDict) -> bool:
    """Return whether the tensors are of a released PartCATSeg or CAT-Seg."""
    return any(key.startswith(f"{_FIRST}.") for key in state)


def convert_catseg_release(weights: ReleasedWeights) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """Convert a released PartCATSeg or CAT-Seg; returns the header without a name, and the tensors.

    The embedding of the background is taken from the file, since text banks are made when words are asked. The
    pre-training checkpoint of CAT-Seg has none, because it was trained without; it gets a random one.

    Raises:
        CheckpointError: a tensor is missing that the sizes are read from.
    """
    masks = (tensor for name, tensor in weights.state.items() if name.endswith(".attn_mask"))
    mask = next(masks, None)
    state = from_catseg(weights.state)
    values = catseg_values(state, mask)
    if weights.vocabulary:
        values["trained_object_parts"] = load_vocabulary(weights.vocabulary).seen().object_parts
    if "pair_projection.weight" not in state:
        if "background" not in state:
            width = values["clip"]["embed_dim"]
            drawn = torch.randn(1, width, generator=torch.Generator().manual_seed(0))
            state["background"] = drawn * width**-0.5
        return CheckpointInfo("", "catseg", CATSegConfig(**values), licence="MIT"), state
    corrections = replace(Corrections.released(), separate_aggregation=weights.separate_aggregation)
    if not weights.separate_aggregation:
        # They are in every file, never trained and never used; see :class:`Corrections`.
        state = {name: t for name, t in state.items() if not name.startswith("object_layers.")}
    config = PartCATSegConfig(**values, corrections=corrections)
    return CheckpointInfo("", "partcatseg", config, licence="MIT"), state


def catseg_values(state: dict[str, Tensor], mask: Tensor | None) -> dict[str, Any]:
    """Read the fields of :class:`CATSegConfig` from tensors under the names of an OVPS file.

    Numbers that do not show in the tensors are those of the released models: 64 channels per head of the towers, 4
    heads, pooling of 2 x 2 cells, and a guidance model that sees 448 pixels (a ViT) or as many as CLIP.

    Args:
        state: the tensors.
        mask: a released ``attn_mask`` float [windows, n, n], from which window and image size follow; None where
            one window covers the map.

    Raises:
        CheckpointError: a tensor is missing that the sizes are read from.
    """
    try:
        dim, templates, _, _ = state["branch.embed.weight"].shape
        convs = [state[f"guidance_projection.convs.{i}.weight"] for i in range(3)]
        window = 12 if mask is None else round(mask.shape[1] ** 0.5)
        cells = window * (1 if mask is None else round(len(mask) ** 0.5))
        clip = _clip_values(state)
        image_size = cells * clip["vision_cfg"]["patch_size"]
        is_vit = "guidance.tower.pos_embed" in state
        return {
            "clip": clip,
            "image_size": image_size,
            "guidance": _guidance_vit(state)
            if is_vit
            else _RESNETS[count_modules(state, "guidance.tower.layer3")],
            "guidance_size": 448 if is_vit else image_size,
            "templates": templates,
            "dim": dim,
            "layers": count_modules(state, "branch.layers"),
            "window": window,
            "guidance_dim": len(convs[0]),
            "text_guidance_dim": len(state["text_projection.weight"]),
            "decoder_dims": tuple(len(state[f"decoder.steps.{i}.norm1.weight"]) for i in (0, 1)),
            "decoder_guidance_dims": tuple(len(weight) for weight in convs[1:]),
        }
    except KeyError as error:
        raise CheckpointError(
            f"the weights lack {error}, which every PartCATSeg and CAT-Seg has; {EXPECTED}"
        ) from error


def _clip_values(state: dict[str, Tensor]) -> dict[str, Any]:
    """The open_clip configuration of both towers."""
    visual, text = "backbone.tower.visual.", "text.tower."
    width, _, patch_size, _ = state[f"{visual}conv1.weight"].shape
    patches = len(state[f"{visual}positional_embedding"]) - 1
    context_length, text_width = state[f"{text}positional_embedding"].shape
    return {
        "embed_dim": state[f"{text}text_projection"].shape[1],
        "vision_cfg": {
            "layers": count_modules(state, f"{visual}transformer.resblocks"),
            "width": width,
            "head_width": 64,
            "patch_size": patch_size,
            "image_size": round(patches**0.5) * patch_size,
        },
        "text_cfg": {
            "context_length": context_length,
            "vocab_size": len(state[f"{text}token_embedding.weight"]),
            "width": text_width,
            "heads": max(1, text_width // 64),
            "layers": count_modules(state, f"{text}transformer.resblocks"),
        },
        "quick_gelu": True,
    }


def _guidance_vit(state: dict[str, Tensor]) -> GuidanceSpec:
    """The timm name of a DINOv2, with its sizes where they are not those of the name."""
    _, cells, width = state["guidance.tower.pos_embed"].shape
    if width in _DINO_SIZES:
        return f"vit_{_DINO_SIZES[width]}_patch14_dinov2"
    return {
        "name": "vit_small_patch14_dinov2",
        "img_size": round((cells - 1) ** 0.5)
        * state["guidance.tower.patch_embed.proj.weight"].shape[-1],
        "embed_dim": width,
        "depth": count_modules(state, "guidance.tower.blocks"),
        "num_heads": max(1, width // 64),
    }
