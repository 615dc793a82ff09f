"""Prediction heads: each query becomes scores of names, a box and a mask."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.models.openseed.config import OpenSeeDConfig


@dataclass(frozen=True)
class Predictions:
    """Predictions of N queries.

    Attributes:
        class_logits: float [B, N, K], similarity to each name; the sigmoid is the score.
        boxes_cxcywh: float [B, N, 4], centre and size in 0..1 of the pixels.
        mask_logits: float [B, N, h, w]; None if masks were not asked for.
    """

    class_logits: Tensor
    boxes_cxcywh: Tensor
    mask_logits: Tensor | None

    def rows(self, start: int, stop: int) -> Predictions:
        """The predictions of the queries ``start`` to ``stop``."""
        masks = self.mask_logits
        return Predictions(
            self.class_logits[:, start:stop],
            self.boxes_cxcywh[:, start:stop],
            masks[:, start:stop] if masks is not None else None,
        )


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int, layers: int) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (layers - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Features float [..., inputs] -> float [..., outputs]."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class PredictionHeads(nn.Module):
    """Heads that all decoder layers and the query selection share.

    Attributes:
        norm: normalisation of queries; the decoder applies it to its outputs, and the class and mask heads apply
            it once more, as released.
        class_embed: float [dim, D], projection of queries into the space of names.
        logit_scale: logarithm of the factor of similarities; there is no bias.
        box_embed: refinement of a box in logit space.
    """

    def __init__(self, config: OpenSeeDConfig) -> None:
        super().__init__()
        dim = config.dim
        self.norm = nn.LayerNorm(dim)
        self.class_embed = nn.Parameter(torch.randn(dim, config.text_dim) * 0.02)
        self.logit_scale = nn.Parameter(torch.ones(()))
        self.mask_embed = MLP(dim, dim, dim, 3)
        self.box_embed = MLP(dim, dim, 4, 3)
        last = self.box_embed.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def similarity(self, queries: Tensor, names: Tensor) -> Tensor:
        """Scaled cosine of queries float [B, N, dim] and normalised names float [K, D]: float [B, N, K]."""
        projected = F.normalize(queries @ self.class_embed, dim=-1, eps=1e-12)
        return self.logit_scale.exp() * projected @ names.T

    def mask_embeddings(self, queries: Tensor) -> Tensor:
        """Queries float [B, N, dim] -> float [B, N, dim], whose products with the mask features are the masks."""
        return self.mask_embed(self.norm(queries))

    def forward(
        self, queries: Tensor, boxes: Tensor, names: Tensor, mask_features: Tensor | None
    ) -> Predictions:
        """Predict from queries.

        Args:
            queries: float [B, N, dim].
            boxes: float [B, N, 4], the boxes of the queries, which the decoder refined.
            names: float [K, D], normalised.
            mask_features: float [B, dim, h, w]; None leaves the masks out.
        """
        masks = None
        if mask_features is not None:
            masks = mask_logits(self.mask_embeddings(queries), mask_features)
        return Predictions(self.similarity(self.norm(queries), names), boxes, masks)


def mask_logits(embeddings: Tensor, features: Tensor) -> Tensor:
    """Mask embeddings float [B, N, dim] and mask features float [B, dim, h, w] -> logits float [B, N, h, w]."""
    return (embeddings @ features.flatten(2)).unflatten(2, features.shape[2:])
