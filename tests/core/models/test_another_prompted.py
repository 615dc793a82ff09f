"""Another segmenter of transformers takes one class of ours and one row of the table.

CLIPSeg is the example. OVPS has a network of its own for it, into which folders of transformers are converted. So
the row is in this test only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_sam3 import tokenizer
from torch import Tensor, nn
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    PreTrainedModel,
    ViTImageProcessor,
)

from ovps_core.models.interface import Conditions, Features, ModelSpec, PartLogits, Preprocessing
from ovps_core.models.prompted.config import PromptedConfig
from ovps_core.models.prompted.model import PromptedModel
from ovps_core.models.prompted.networks import NETWORKS, PromptedNetwork
from ovps_core.segmenter import PartSegmenter

SIDE = 64
PROMPTS = ["knife handle", "mug rim", "pan"]
PICTURE = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
LAYERS = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
}
TEXT = {**LAYERS, "vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}


class TextTower(nn.Module):
    """One vector per prompt."""

    def __init__(self, network: PreTrainedModel, padding_token: int) -> None:
        super().__init__()
        self.network, self.padding_token = network, padding_token

    def forward(self, tokens: Tensor) -> Tensor:
        valid = tokens >= 0
        return self.network.clip.get_text_features(
            tokens.masked_fill(~valid, self.padding_token), attention_mask=valid.long()
        ).pooler_output


class PromptedCLIPSeg(PromptedModel):
    """A CLIPSeg of transformers: the vision tower runs once per image, the decoder with all prompts."""

    def __init__(
        self, network: PreTrainedModel, preprocessing: Preprocessing, config: PromptedConfig
    ) -> None:
        super().__init__(network, preprocessing, config)
        self.context_length = network.config.text_config.max_position_embeddings
        self.spec = ModelSpec(preprocessing, network.config.projection_dim, subgraphs=())

    def text_tower(self, padding_token: int) -> TextTower:
        return TextTower(self.network, padding_token)

    def encode(self, pixels: Tensor) -> Features:
        hidden = self.network.clip.vision_model(
            pixels, output_hidden_states=True, interpolate_pos_encoding=True
        ).hidden_states
        levels = tuple(hidden[layer + 1] for layer in self.network.extract_layers)
        return Features(levels, (pixels.shape[-2], pixels.shape[-1]))

    def decode(
        self, features: Features, conditions: Conditions, objects: object = None
    ) -> PartLogits:
        images, prompts = len(features.levels[0]), len(conditions.names)
        logits = self.network.decoder(
            [level.repeat_interleave(prompts, 0) for level in features.levels],
            conditions.names.repeat(images, 1),
        ).logits
        return PartLogits.names_only(logits.unflatten(0, (images, prompts)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small CLIPSeg with random weights, saved as on the hub."""
    torch.manual_seed(0)
    config = CLIPSegConfig(
        text_config={**TEXT, "max_position_embeddings": 32},
        vision_config={**LAYERS, "image_size": SIDE, "patch_size": 16},
        projection_dim=16,
        extract_layers=[0, 1, 2],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )
    CLIPSegForImageSegmentation(config).save_pretrained(tmp_path)
    size = {"height": SIDE, "width": SIDE}
    CLIPSegProcessor(ViTImageProcessor(size=size), tokenizer()).save_pretrained(tmp_path)
    return tmp_path


def test_another_segmenter_answers_as_transformers_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = PromptedNetwork("CLIPSegForImageSegmentation", lambda: PromptedCLIPSeg)
    monkeypatch.setitem(NETWORKS, "clipseg", row)
    segmenter = PartSegmenter.from_pretrained(folder)
    assert isinstance(segmenter.model, PromptedCLIPSeg)
    maps = segmenter.query_maps([PICTURE, PICTURE[::-1]], segmenter.encode_queries(PROMPTS))
    network = CLIPSegForImageSegmentation.from_pretrained(folder).eval()
    processor = CLIPSegProcessor.from_pretrained(folder)
    for picture, ours in zip((PICTURE, PICTURE[::-1]), maps, strict=True):
        images = [np.ascontiguousarray(picture)] * len(PROMPTS)
        inputs = processor(text=PROMPTS, images=images, padding=True, return_tensors="pt")
        with torch.inference_mode():
            theirs = network(**inputs).logits.numpy()
        assert np.ptp(theirs) > 0.01
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_without_that_row_the_folder_is_converted_to_our_own_network(folder: Path) -> None:
    segmenter = PartSegmenter.from_pretrained(folder, backend="torch")
    assert type(segmenter.model).__name__ == "CLIPSeg"
    assert segmenter.spec.subgraphs
