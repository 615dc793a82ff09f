"""Small SAM 3 models of transformers with random weights, saved as the Hugging Face hub keeps them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason='needs pip install "ovps[transformers]"')
pytest.importorskip("torchvision", reason='needs pip install "ovps[transformers]"')

from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTokenizer,
    PreTrainedModel,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3LiteTextConfig,
    Sam3LiteTextModel,
    Sam3Model,
    Sam3Processor,
    Sam3VideoConfig,
    Sam3VideoModel,
)

SIDE = 112
KINDS = {"sam3": 4, "sam3_lite_text": 0, "sam3_video": 0}
"""Families by their ``model_type``, each with a seed at which instances have scores on both sides of 0.5."""
_LAYERS = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
_VISION = {
    "backbone_config": {
        "model_type": "sam3_vit_model",
        **_LAYERS,
        "num_hidden_layers": 2,
        "image_size": SIDE,
        "patch_size": 14,
        "window_size": 4,
        "global_attn_indexes": [1],
        "pretrain_image_size": 56,
    },
    "fpn_hidden_size": 32,
    "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
}
_TEXT = {
    **_LAYERS,
    "vocab_size": 514,
    "projection_dim": 16,
    "num_hidden_layers": 2,
    "bos_token_id": 512,
    "eos_token_id": 513,
}
_DETECTOR = {
    "vision_config": _VISION,
    "geometry_encoder_config": {"num_layers": 1, **_LAYERS},
    "detr_encoder_config": {"num_layers": 1, **_LAYERS},
    "detr_decoder_config": {"num_layers": 2, "num_queries": 10, **_LAYERS},
    "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
}


def _sam3_config() -> dict[str, Any]:
    return {**_DETECTOR, "text_config": {**_TEXT, "max_position_embeddings": 32}}


def tiny_model(kind: str) -> PreTrainedModel:
    """A network with random weights, the same every time; ``kind`` is its ``model_type``."""
    torch.manual_seed(KINDS[kind])
    if kind == "sam3":
        network: PreTrainedModel = Sam3Model(Sam3Config(**_sam3_config()))
    elif kind == "sam3_lite_text":
        text = {key: _TEXT[key] for key in _TEXT if not key.endswith("token_id")}
        network = Sam3LiteTextModel(Sam3LiteTextConfig(**_DETECTOR, text_config=text))
    else:
        tracker = {"memory_attention_num_layers": 1, "vision_config": _VISION}
        network = Sam3VideoModel(
            Sam3VideoConfig(detector_config=_sam3_config(), tracker_config=tracker)
        )
    _make_lively(network)
    return network.eval()


def _make_lively(network: PreTrainedModel) -> None:
    """Set random weights of a size at which masks have borders and scores differ."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1 and "embedding" not in name:
                scale = 3.0 if name.endswith("scoring.query_proj.weight") else 1.0
                parameter.normal_(0, scale / math.sqrt(parameter[0].numel()))
            elif parameter.dim() > 1:
                parameter.normal_()
            elif name.endswith("presence_head.layer3.bias"):
                parameter.fill_(4.0)


def tokenizer() -> CLIPTokenizer:
    """CLIP's byte-level tokeniser without merges: a token for each letter."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])


def processor() -> Sam3Processor:
    """Images of the network's size, and the tokeniser."""
    return Sam3Processor(Sam3ImageProcessor(size={"height": SIDE, "width": SIDE}), tokenizer())


def write_folder(kind: str, folder: Path) -> Path:
    """Save a model with its processor, as ``save_pretrained`` does for the hub."""
    tiny_model(kind).save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


def write_hub_cache(kind: str, cache: Path, repository: str) -> Path:
    """Save a model into a cache folder of the hub, where a download would have left it; returns its folder."""
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0123abcd")
    return write_folder(kind, home / "snapshots" / "0123abcd")
