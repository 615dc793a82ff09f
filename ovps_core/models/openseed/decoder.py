"""Decoder: queries look at each other and at the memory, and refine their boxes layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.models.layers.deformable_attention import DeformableAttention
from ovps_core.models.openseed.config import OpenSeeDConfig
from ovps_core.models.openseed.heads import MLP, PredictionHeads
from ovps_core.models.openseed.positions import box_encoding, inverse_sigmoid
from ovps_core.models.openseed.query_selection import Memory, Queries


@dataclass(frozen=True)
class LayerOutput:
    """Queries after a layer.

    Attributes:
        queries: float [B, N, dim], normalised.
        boxes: float [B, N, 4], (cx, cy, w, h) in 0..1.
    """

    queries: Tensor
    boxes: Tensor


class DecoderLayer(nn.Module):
    """Self-attention, deformable attention to the memory, feed-forward network; normalised after each."""

    def __init__(self, config: OpenSeeDConfig) -> None:
        super().__init__()
        dim = config.dim
        self.cross_attn = DeformableAttention(dim, config.levels, config.heads, config.points)
        self.norm1 = nn.LayerNorm(dim)  # after the cross-attention, as released
        self.self_attn = nn.MultiheadAttention(dim, config.heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, config.mlp_dim)
        self.linear2 = nn.Linear(config.mlp_dim, dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(
        self,
        queries: Tensor,
        positions: Tensor,
        boxes: Tensor,
        values: Sequence[Tensor],
        blocked: Tensor | None,
    ) -> Tensor:
        """Queries and their positions float [B, N, dim], boxes float [B, N, 4] in 0..1 -> new queries.

        ``values`` are those of the cross-attention, a map per level. ``blocked`` is bool [N, N], True where the
        query of the row must not see the query of the column.
        """
        placed = queries + positions
        mixed, _ = self.self_attn(placed, placed, queries, attn_mask=blocked, need_weights=False)
        queries = self.norm2(queries + mixed)
        read = self.cross_attn.read(queries + positions, boxes[:, :, None], values)
        queries = self.norm1(queries + read)
        return self.norm3(queries + self.linear2(F.relu(self.linear1(queries))))


class QueryDecoder(nn.Module):
    """Stack of decoder layers with iterative refinement of the boxes (DINO, Zhang et al., ICLR 2023)."""

    def __init__(self, config: OpenSeeDConfig) -> None:
        super().__init__()
        self.box_channels = config.dim // 2
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.ref_point_head = MLP(2 * config.dim, config.dim, config.dim, 2)

    def project(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Values of all layers: maps float [B, dim, h, w] -> [B, layers * dim, h, w].

        They depend on the image alone, so they are made once, however often it is asked.
        """
        layers = cast(Sequence[DecoderLayer], self.layers)
        projections = [layer.cross_attn.value_proj for layer in layers]
        weight = torch.cat([projection.weight for projection in projections])[..., None, None]
        bias = torch.cat([projection.bias for projection in projections])
        return [F.conv2d(level, weight, bias) for level in levels]

    def forward(
        self,
        queries: Queries,
        memory: Memory,
        heads: PredictionHeads,
        blocked: Tensor | None = None,
    ) -> list[LayerOutput]:
        """Decode queries; returns the input queries and the output of each layer.

        Boxes of a layer are refined from the previous layer's with gradient ("look forward twice"), while the
        layers themselves read boxes without gradient.
        """
        contents, boxes = queries.contents, queries.anchors.sigmoid()
        outputs = [LayerOutput(contents, boxes)]
        previous = boxes
        by_layer = zip(*(level.chunk(len(self.layers), 1) for level in memory.values), strict=True)
        for layer, values in zip(self.layers, by_layer, strict=True):
            encoding = box_encoding(boxes, self.box_channels)  # boxes keep 32 bits
            positions = self.ref_point_head(encoding.to(contents.dtype))
            contents = layer(contents, positions, boxes, values, blocked)
            normed = heads.norm(contents)
            predicted = (heads.box_embed(normed) + inverse_sigmoid(previous)).sigmoid()
            outputs.append(LayerOutput(normed, predicted))
            previous = (heads.box_embed(contents) + inverse_sigmoid(boxes)).sigmoid()
            boxes = previous.detach()
        return outputs


def group_mask(groups: int, group_size: int, others: int, device: torch.device) -> Tensor:
    """Mask of queries that must not see each other, bool [N, N]; ``groups`` of denoising queries are first.

    A group does not see other groups, and the other queries see no group. Groups see the other queries.
    """
    padding = groups * group_size
    group = torch.arange(padding, device=device) // max(group_size, 1)
    blocked = torch.zeros(padding + others, padding + others, dtype=torch.bool, device=device)
    blocked[padding:, :padding] = True
    blocked[:padding, :padding] = group[:, None] != group
    return blocked
