"""Names of tensors in released CLIPSeg and PartCLIPSeg files, and the names that they have here."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping

import torch
from torch import Tensor

StateDict = MutableMapping[str, Tensor]

# Hugging Face's names of a CLIPSeg, which a released PartCLIPSeg shares; the first match counts.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"clip\.text_model\.embeddings\.token_embedding\.", r"text.tower.token_embedding."),
    (
        r"clip\.text_model\.embeddings\.position_embedding\.weight",
        r"text.tower.positional_embedding",
    ),
    (r"clip\.text_model\.final_layer_norm\.", r"text.tower.ln_final."),
    (r"clip\.text_model\.encoder\.layers\.(\d+)\.", r"text.tower.transformer.resblocks.\1."),
    (r"clip\.vision_model\.embeddings\.class_embedding", r"backbone.tower.visual.class_embedding"),
    (r"clip\.vision_model\.embeddings\.patch_embedding\.", r"backbone.tower.visual.conv1."),
    (
        r"clip\.vision_model\.embeddings\.position_embedding\.weight",
        r"backbone.tower.visual.positional_embedding",
    ),
    (r"clip\.vision_model\.pre_layrnorm\.", r"backbone.tower.visual.ln_pre."),
    (r"clip\.vision_model\.post_layernorm\.", r"backbone.tower.visual.ln_post."),
    (
        r"clip\.vision_model\.encoder\.layers\.(\d+)\.",
        r"backbone.tower.visual.transformer.resblocks.\1.",
    ),
    (r"decoder\.film_(mul|add)\.", r"decoder.film.\1."),
    (r"decoder\.cond_film_(mul|add)\.", r"pair_film.\1."),
    (r"decoder\.transposed_convolution\.(\d)\.", r"upsample.\1."),
    (r"decoder\.transposed_convolution\.(weight|bias)", r"upsample.0.\1"),
    (r"decoder\.part_obj_with_cond_embed\.(\d)\.", r"pair_upsample.\1."),
    (r"decoder\.part_obj_with_cond_embed\.(weight|bias)", r"pair_upsample.0.\1"),
    (r"decoder\.part_obj_mlp\.0\.", r"pair_maps."),
    (r"decoder\.reduce_cond_embed\.", r"pair_words."),
    (r"decoder\.reduces\.", r"decoder.reduces."),
    (r"decoder\.layers\.(\d+)\.", r"decoder.blocks.\1."),
    (r"non_object_embedding", r"background"),
)
_CLIP_LAYER = (
    (r"\.self_attn\.out_proj\.", r".attn.out_proj."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", r".mlp.c_fc."),
    (r"\.mlp\.fc2\.", r".mlp.c_proj."),
)
_DECODER_LAYER = (
    (r"\.self_attn\.out_proj\.", r".out."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.mlp\.fc1\.", r".mlp.0."),
    (r"\.mlp\.fc2\.", r".mlp.2."),
)
_TRANSPOSED = {
    "clip.text_projection.weight": "text.tower.text_projection",
    "clip.visual_projection.weight": "backbone.tower.visual.proj",
}
# In the released files, but without influence on the output.
_UNUSED = re.compile(r"logit_scale$|position_ids$|^text_adapter\.|^tunable_linear\.")
_QKV = re.compile(r"(.*)\.self_attn\.([qkv])_proj\.(weight|bias)$")

# The original CLIPSeg decoder files.
_ORIGINAL_RENAMES = (
    (r"film_(mul|add)\.", r"decoder.film.\1."),
    (r"reduces\.", r"decoder.reduces."),
    (r"trans_conv\.(\d)\.", r"upsample.\1."),
    (r"trans_conv\.(weight|bias)", r"upsample.0.\1"),
    (r"blocks\.(\d+)\.self_attn\.in_proj_(weight|bias)", r"decoder.blocks.\1.qkv.\2"),
    (r"blocks\.(\d+)\.self_attn\.out_proj\.", r"decoder.blocks.\1.out."),
    (r"blocks\.(\d+)\.linear1\.", r"decoder.blocks.\1.mlp.0."),
    (r"blocks\.(\d+)\.linear2\.", r"decoder.blocks.\1.mlp.2."),
    (r"blocks\.(\d+)\.norm([12])\.", r"decoder.blocks.\1.norm\2."),
)
_ORIGINAL_UNUSED = re.compile(r"^reduce\.|^clip_model\.|^model\.")


def ovps_key(released: str) -> str | None:
    """Name in an OVPS file of a tensor in a Hugging Face CLIPSeg or a released PartCLIPSeg; None if it is unused.

    Query, key and value projections are one tensor in an OVPS file, so the three have one name. An unknown name is
    returned unchanged, so that an error can list it.
    """
    if _UNUSED.search(released):
        return None
    if released in _TRANSPOSED:
        return _TRANSPOSED[released]
    adapter = re.fullmatch(r"visual_adapter\.fc\.([02])\.weight", released)
    if adapter:
        return f"adapter.{'down' if adapter[1] == '0' else 'up'}.weight"
    name = rename(released, _RENAMES)
    name = rename(name, _CLIP_LAYER if ".resblocks." in name else _DECODER_LAYER, everywhere=True)
    stem = _QKV.match(name)
    if stem is None:
        return name
    joined = "attn.in_proj_" if ".resblocks." in name else "qkv."
    return f"{stem[1]}.{joined}{stem[3]}"


def from_hugging_face(state: StateDict) -> dict[str, Tensor]:
    """Rename and join the tensors of a Hugging Face CLIPSeg; a released PartCLIPSeg has the same names and more.

    ``state`` is emptied on the way, so that the weights are never in memory twice.
    """
    ours: dict[str, Tensor] = {}
    for released in list(state):
        part = _QKV.match(released)
        if part and part[2] in "kv":
            continue  # taken together with q
        tensor = state.pop(released)
        name = ovps_key(released)
        if name is None:
            continue
        if part:
            others = (state.pop(f"{part[1]}.self_attn.{x}_proj.{part[3]}", None) for x in "kv")
            tensor = torch.cat([tensor, *(other for other in others if other is not None)])
        elif released in _TRANSPOSED:
            tensor = tensor.T.contiguous()
        ours[name] = tensor
    return ours


def from_original_clipseg(state: StateDict) -> dict[str, Tensor]:
    """Rename the tensors of an original CLIPSeg decoder file; its CLIP weights are OpenAI's and not in it."""
    return {
        rename(name, _ORIGINAL_RENAMES): tensor
        for name, tensor in state.items()
        if not _ORIGINAL_UNUSED.search(name)
    }


def rename(name: str, table: tuple[tuple[str, str], ...], *, everywhere: bool = False) -> str:
    """Rename a tensor by the first pattern that its name starts with, or by all of them anywhere in its name."""
    for pattern, replacement in table:
        if everywhere:
            name = re.sub(pattern, replacement, name)
        elif re.match(pattern, name):
            return re.sub(f"^{pattern}", replacement, name)
    return name


def count_modules(state: Mapping[str, Tensor], stem: str) -> int:
    """Number of modules in the list ``stem``."""
    return len(
        {name[len(stem) + 1 :].split(".")[0] for name in state if name.startswith(f"{stem}.")}
    )
