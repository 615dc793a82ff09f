"""Conversion of CLIPSeg weights: Hugging Face directories, and the original decoder files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ovps_core.checkpoints.convert.key_names import (
    StateDict,
    from_hugging_face,
    from_original_clipseg,
)
from ovps_core.checkpoints.convert.released_file import EXPECTED, ReleasedWeights
from ovps_core.checkpoints.file import CheckpointInfo
from ovps_core.errors import CheckpointError
from ovps_core.models.backbones.clip_vit import pretrained_clip
from ovps_core.models.clipseg.model import CLIPSegConfig

_OUT_INDICES = (3, 6, 9)
_ORIGINAL_CLIP = "ViT-B-16-quickgelu"


def is_hugging_face(state: StateDict) -> bool:
    """Return whether the tensors are of a CLIPSeg as Hugging Face names them."""
    return any(key.startswith("clip.vision_model.") for key in state)


def convert_hugging_face(weights: ReleasedWeights) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """Convert a Hugging Face CLIPSeg; returns the header without a name, and the tensors.

    Raises:
        CheckpointError: a tensor is missing that the sizes are read from.
    """
    config = CLIPSegConfig(**clipseg_values(weights.state, weights.config))
    info = CheckpointInfo("", "clipseg", config, licence="Apache-2.0")
    return info, from_hugging_face(weights.state)


def is_original_decoder(state: StateDict) -> bool:
    """Return whether the tensors are of a decoder file of the CLIPSeg authors."""
    return any(key.startswith("trans_conv.") for key in state)


def convert_original_decoder(weights: ReleasedWeights) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """Join a decoder file with the CLIP weights that it was trained on; returns header and tensors."""
    config = CLIPSegConfig(
        clip=_ORIGINAL_CLIP,
        out_indices=_OUT_INDICES,
        refined_upsampling="trans_conv.0.weight" in weights.state,
    )
    towers = pretrained_clip(_ORIGINAL_CLIP, weights.clip)
    tensors = from_original_clipseg(weights.state)
    tensors |= {f"text.tower.{name}": t for name, t in towers.text.state_dict().items()}
    tensors |= {
        f"backbone.tower.visual.{name}": t for name, t in towers.visual.state_dict().items()
    }
    return CheckpointInfo("", "clipseg", config, licence="MIT"), tensors


def clipseg_values(state: StateDict, config: Mapping[str, Any]) -> dict[str, Any]:
    """Read the fields of :class:`CLIPSegConfig` from tensors under Hugging Face's names.

    The numbers of heads and the image size do not show in the tensors; they come from ``config``, a Hugging Face
    configuration. If it is not there either, CLIP's own values are used: 64 channels per head, 352 pixels.

    Raises:
        CheckpointError: a tensor is missing that the sizes are read from.
    """
    try:
        return {
            "clip": _clip_values(state, config),
            "out_indices": tuple(config.get("extract_layers", _OUT_INDICES)),
            "image_size": config.get("image_size", 352),
            "dim": state["decoder.reduces.0.weight"].shape[0],
            "heads": config.get("decoder_num_attention_heads", 4),
            "mlp_dim": state["decoder.layers.0.mlp.fc1.weight"].shape[0],
            "refined_upsampling": "decoder.transposed_convolution.0.weight" in state,
        }
    except KeyError as error:
        raise CheckpointError(
            f"the weights lack {error}, which every CLIPSeg has; {EXPECTED}"
        ) from error


def _clip_values(state: StateDict, config: Mapping[str, Any]) -> dict[str, Any]:
    """The open_clip configuration of both towers."""
    vision, text = config.get("vision_config", {}), config.get("text_config", {})
    width = state["clip.vision_model.embeddings.class_embedding"].shape[0]
    patches, _ = state["clip.vision_model.embeddings.position_embedding.weight"].shape
    patch_size = state["clip.vision_model.embeddings.patch_embedding.weight"].shape[-1]
    vocabulary, text_width = state["clip.text_model.embeddings.token_embedding.weight"].shape
    context_length = state["clip.text_model.embeddings.position_embedding.weight"].shape[0]
    hidden = state["clip.vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0]
    text_hidden = state["clip.text_model.encoder.layers.0.mlp.fc1.weight"].shape[0]
    return {
        "embed_dim": state["clip.text_projection.weight"].shape[0],
        "vision_cfg": {
            "layers": _layers(state, "clip.vision_model.encoder.layers"),
            "width": width,
            "head_width": width // vision.get("num_attention_heads", max(1, width // 64)),
            "mlp_ratio": hidden / width,
            "patch_size": patch_size,
            "image_size": round((patches - 1) ** 0.5) * patch_size,
        },
        "text_cfg": {
            "context_length": context_length,
            "vocab_size": vocabulary,
            "width": text_width,
            "heads": text.get("num_attention_heads", max(1, text_width // 64)),
            "layers": _layers(state, "clip.text_model.encoder.layers"),
            "mlp_ratio": text_hidden / text_width,
        },
        "quick_gelu": True,
    }


def _layers(state: StateDict, stem: str) -> int:
    """The number of layers whose tensors begin with ``stem``."""
    numbers = (re.match(rf"{re.escape(stem)}\.(\d+)\.", key) for key in state)
    return 1 + max((int(number[1]) for number in numbers if number), default=-1)
