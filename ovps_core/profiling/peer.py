"""The peer in the same run: Hugging Face's CLIPSeg in fp32, with the weights that ours has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ovps_core.checkpoints.convert.clipseg import clipseg_values
from ovps_core.checkpoints.convert.key_names import from_hugging_face
from ovps_core.checkpoints.file import CheckpointInfo, LoadedModel, build_model
from ovps_core.errors import BackendError
from ovps_core.models.clipseg.model import CLIPSegConfig
from ovps_core.models.text.tower import TextEncoder
from ovps_core.structures.query import PartQuery

PEER_MODEL = "random:clipseg-vitb16"
"""The model that takes the peer's weights when both are measured."""

_PAD = 49407


class HuggingFacePeer:
    """``CLIPSegForImageSegmentation`` called as its documentation does: the image once a prompt, the prompts as
    tokens padded to the longest.

    Raises:
        BackendError: transformers is not installed.
    """

    name = "Hugging Face CLIPSeg fp32"

    def __init__(self) -> None:
        try:
            from transformers import CLIPSegConfig as PeerConfig
            from transformers import CLIPSegForImageSegmentation
        except ImportError as error:
            raise BackendError('the peer is not installed: pip install "ovps[bench]"') from error
        torch.manual_seed(0)
        config = PeerConfig(
            vision_config={"patch_size": 16}, use_complex_transposed_convolution=True
        )
        self.network: Any = CLIPSegForImageSegmentation(config).eval().requires_grad_(False)
        self._config = config.to_dict()

    def twin(self) -> LoadedModel:
        """Our CLIPSeg with the peer's weights."""
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
