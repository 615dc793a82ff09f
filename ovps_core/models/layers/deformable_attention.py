"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021) in plain PyTorch.

Each query reads a few points of every feature level instead of all cells. The values at the points come from
``grid_sample``, so no compiled operator is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int]
"""(rows, columns) of a feature level."""


class DeformableAttention(nn.Module):
    """Attention of each query to ``points`` sampled points per head and level.

    Args:
        dim: channels of queries and values.
        levels: number of feature levels.
        heads: number of heads.
        points: sampled points per head and level.
    """

    def __init__(self, dim: int, levels: int, heads: int = 8, points: int = 4) -> None:
        super().__init__()
        self.levels, self.heads, self.points = levels, heads, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Start with points on rays in one direction per head, 1 to ``points`` cells away."""
        angles = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        rays = torch.stack([angles.cos(), angles.sin()], -1)
        rays = rays / rays.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        offsets = rays[:, None, None] * steps[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        for weight in (self.sampling_offsets.weight, self.attention_weights.weight):
            nn.init.zeros_(weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, queries: Tensor, references: Tensor, memory: Tensor, sizes: Sequence[Size]
    ) -> Tensor:
        """Attend to the memory around each query's reference.

        Args:
            queries, references: see :meth:`read`.
            memory: float [B, M, dim], the cells of all levels, row by row, level after level.
            sizes: (rows, columns) of each level; the products sum to M.

        Returns:
            float [B, N, dim].
        """
        cells = self.value_proj(memory).split([rows * columns for rows, columns in sizes], dim=1)
        values = [
            level.transpose(1, 2).unflatten(2, size)
            for level, size in zip(cells, sizes, strict=True)
        ]
        return self.read(queries, references, values)

    def read(self, queries: Tensor, references: Tensor, values: Sequence[Tensor]) -> Tensor:
        """Attend to projected values around each query's reference.

        Args:
            queries: float [B, N, dim].
            references: float [B, N, 1 or levels, 2 or 4] in 0..1: points (x, y), or boxes (cx, cy, w, h), in which
                case offsets are relative to half the box.
            values: per level a map float [B, dim, rows, columns] that ``value_proj`` made of the memory.

        Returns:
            float [B, N, dim].
        """
        batch, count = queries.shape[:2]
        grouped = (batch, count, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(queries).view(*grouped, 2)
        weights = self.attention_weights(queries).view(*grouped[:3], -1).softmax(-1).view(grouped)
        sizes = [(level.shape[2], level.shape[3]) for level in values]
        # Coordinates take float32: 16 bit would move points by a good part of a cell.
        locations = self._locations(offsets.float(), references.float(), sizes)
        # Queries come last: sums over points then add whole rows, several times faster than sums along a row.
        grids = (2 * locations - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)
        weights = weights.permute(3, 0, 2, 4, 1).flatten(1, 2)
        total = queries.new_zeros(())
        for level, grid, weight in zip(values, grids.to(queries.dtype), weights, strict=True):
            maps = level.unflatten(1, (self.heads, -1)).flatten(0, 1)
            sampled = F.grid_sample(maps, grid, padding_mode="zeros", align_corners=False)
            total = total + (sampled * weight[:, None]).sum(2)  # [B * heads, dim / heads, N]
        return self.output_proj(total.view(batch, -1, count).transpose(1, 2))

    def _locations(self, offsets: Tensor, references: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Sampled points in 0..1 as (x, y): float [B, N, heads, levels, points, 2]."""
        references = references[:, :, None, :, None]
        if references.shape[-1] == 2:
            columns_rows = [(columns, rows) for rows, columns in sizes]
            return references + offsets / offsets.new_tensor(columns_rows)[:, None]
        return references[..., :2] + offsets / self.points * references[..., 2:] * 0.5
