"""Hugging Face's CLIPSeg in fp32, with the same weights as ours, for a comparison in the same run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ovps_core.checkpoints.convert.clipseg import clipseg_values
from ovps_core.checkpoints.convert.key_names import from_hugging_face
from ovps_core.checkpoints.file import CheckpointInfo, LoadedModel, build_model
from ovps_core.models.clipseg.model import CLIPSegConfig
from ovps_core.models.text.tower import TextEncoder
from ovps_core.structures.query import PartQuery
from ovps_core.structures.requirements import require_packages

PEER_MODEL = "random:clipseg-vitb16"
"""The model that takes the peer's weights when both are measured."""

_PAD = 49407  # token id that the tokenizer of Hugging Face pads with


class HuggingFacePeer:
    """``CLIPSegForImageSegmentation`` as its documentation calls it.

    It encodes the image once per prompt. Prompts are tokens, padded to the longest prompt.

    Raises:
        MissingDependencyError: transformers is not installed.
    """

    name = "Hugging Face CLIPSeg fp32"

    def __init__(self) -> None:
        require_packages("transformers", extra="bench")
        from transformers import CLIPSegConfig as PeerConfig
        from transformers import CLIPSegForImageSegmentation

        torch.manual_seed(0)
        config = PeerConfig(
            vision_config={"patch_size": 16}, use_complex_transposed_convolution=True
        )
        self.network: Any = CLIPSegForImageSegmentation(config).eval().requires_grad_(False)
        self._config = config.to_dict()

    def twin(self) -> LoadedModel:
        """Build our CLIPSeg with the weights of the peer."""
        state = dict(self.network.state_dict())
        config = CLIPSegConfig(**clipseg_values(state, self._config))
        info = CheckpointInfo("peer", "clipseg", config)
        return build_model(info, from_hugging_face(state), origin="the peer")

    def tokens(self, text_encoder: TextEncoder, queries: Sequence[PartQuery]) -> dict[str, Tensor]:
        """Token ids int64 [Q, L] and attention mask of the phrases that our model encodes."""
        ids = text_encoder.tokenizer([f"{query.object} {query.part}".strip() for query in queries])
        lengths = (ids != 0).sum(1)
        ids = ids[:, : int(lengths.max())].clone()
        mask = torch.arange(ids.shape[1])[None] < lengths[:, None]
        return {"input_ids": ids.masked_fill(~mask, _PAD), "attention_mask": mask.long()}

    @torch.inference_mode()
    def run(self, pixels: Tensor, tokens: dict[str, Tensor]) -> Tensor:
        """Pixels float [1, 3, H, W] -> logits float [1, Q, H, W]."""
        repeated = pixels.expand(tokens["input_ids"].shape[0], -1, -1, -1)
        logits = self.network(pixel_values=repeated, **tokens).logits
        return logits.reshape(1, -1, *logits.shape[-2:])
