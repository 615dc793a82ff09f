"""Language-guided selection of queries: the cells of the memory that are most similar to any name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ovps_core.models.layers.deformable_attention import Size
from ovps_core.models.openseed.config import OpenSeeDConfig
from ovps_core.models.openseed.heads import PredictionHeads
from ovps_core.models.openseed.pixel_encoder import cell_centres
from ovps_core.models.openseed.positions import inverse_sigmoid

_SMALLEST = 0.05  # side of the proposals of the first level, as a share of the image
_MARGIN = 0.01  # proposals closer to the border than this are not selected


@dataclass(frozen=True)
class Memory:
    """Encoded cells of all levels in the order of the decoder, coarse to fine.

    Attributes:
        cells: float [B, M, dim], level after level.
        sizes: (rows, columns) of each level, in the same order.
        values: per level the cells projected for every decoder layer, float [B, layers * dim, rows, columns].
    """

    cells: Tensor
    sizes: tuple[Size, ...]
    values: tuple[Tensor, ...]

    @classmethod
    def from_levels(cls, levels: Sequence[Tensor], values: Sequence[Tensor]) -> Memory:
        """The memory of maps float [B, dim, h, w] and [B, layers * dim, h, w], both fine to coarse."""
        coarse_to_fine = list(reversed(levels))
        cells = torch.cat([level.flatten(2).transpose(1, 2) for level in coarse_to_fine], 1)
        sizes = tuple((level.shape[2], level.shape[3]) for level in coarse_to_fine)
        return cls(cells, sizes, tuple(reversed(values)))


@dataclass(frozen=True)
class Queries:
    """Inputs of the decoder.

    Attributes:
        contents: float [B, N, dim].
        anchors: float [B, N, 4], logits of boxes (cx, cy, w, h).
    """

    contents: Tensor
    anchors: Tensor

    def detached(self) -> Queries:
        """The same values outside the graph."""
        return Queries(self.contents.detach(), self.anchors.detach())

    def joined(self, others: Queries) -> Queries:
        """These queries, then the others."""
        return Queries(
            torch.cat([self.contents, others.contents], 1),
            torch.cat([self.anchors, others.anchors], 1),
        )


@dataclass(frozen=True)
class Selection:
    """Selected cells, the highest score first.

    Attributes:
        queries: contents and refined anchors of the cells; gradients flow.
        cells: int64 [B, N], index of each cell in the memory.
        scores: float [B, N], highest logit of any name.
    """

    queries: Queries
    cells: Tensor
    scores: Tensor


def box_proposals(sizes: Sequence[Size], like: Tensor) -> tuple[Tensor, Tensor]:
    """A square proposal at each cell, twice as large at each level.

    The sizes of the released model count from the coarsest level, so the finest level has the largest proposals.
    Its weights expect it.

    Args:
        sizes: (rows, columns) of each level, coarse to fine.
        like: tensor with the dtype and device of the result.

    Returns:
        Logits of boxes (cx, cy, w, h) float [M, 4], and bool [M], False for cells too close to the border.
    """
    boxes = []
    for level, size in enumerate(sizes):
        centres = cell_centres(size, like)
        boxes.append(torch.cat([centres, torch.full_like(centres, _SMALLEST * 2**level)], -1))
    proposals = torch.cat(boxes)
    inside = ((proposals > _MARGIN) & (proposals < 1 - _MARGIN)).all(-1)
    return torch.log(proposals / (1 - proposals)), inside


class QuerySelection(nn.Module):
    """Selection of the cells with the highest similarity to any of the names."""

    def __init__(self, config: OpenSeeDConfig) -> None:
        super().__init__()
        self.count = config.object_queries
        self.proj = nn.Linear(config.dim, config.dim)
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, memory: Memory, names: Tensor, heads: PredictionHeads) -> Selection:
        """Select queries from the memory for normalised names float [K, D]; fewer if the memory is small."""
        proposals, inside = box_proposals(memory.sizes, like=memory.cells)
        contents = self.norm(self.proj(memory.cells.masked_fill(~inside[:, None], 0.0)))
        scores = heads.similarity(contents, names).amax(-1).masked_fill(~inside, -torch.inf)
        count = min(self.count, contents.shape[1])
        best, cells = scores.topk(count, dim=1)
        chosen = contents.gather(1, cells[..., None].expand(-1, -1, contents.shape[2]))
        anchors = heads.box_embed(chosen) + proposals[cells]
        return Selection(Queries(chosen, anchors), cells, best)


def anchors_of(boxes_cxcywh: Tensor) -> Tensor:
    """Anchors float [..., 4] of boxes (cx, cy, w, h) in 0..1."""
    return inverse_sigmoid(boxes_cxcywh)
