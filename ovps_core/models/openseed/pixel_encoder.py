"""Pixel encoder: the backbone's maps become a memory of several scales, and mask features at stride 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.models.layers.deformable_attention import DeformableAttention, Size
from ovps_core.models.openseed.config import OpenSeeDConfig
from ovps_core.models.openseed.positions import grid_encoding

_GROUPS = 32  # of every group normalisation


class EncoderLayer(nn.Module):
    """Deformable self-attention of all cells, then a feed-forward network; normalised after each."""

    def __init__(self, config: OpenSeeDConfig) -> None:
        super().__init__()
        dim = config.dim
        self.self_attn = DeformableAttention(dim, config.levels, config.heads, config.points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, config.mlp_dim)
        self.linear2 = nn.Linear(config.mlp_dim, dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(
        self, cells: Tensor, positions: Tensor, centres: Tensor, sizes: Sequence[Size]
    ) -> Tensor:
        """Cells float [B, M, dim] with positions float [M, dim] and centres float [1, M, 1, 2] -> new cells."""
        references = centres.expand(cells.shape[0], -1, -1, -1)
        cells = self.norm1(cells + self.self_attn(cells + positions, references, cells, sizes))
        return self.norm2(cells + self.linear2(F.relu(self.linear1(cells))))


class PixelEncoder(nn.Module):
    """Deformable encoder over the coarse levels, and a feature pyramid step down to stride 4.

    Args:
        config: sizes.
        widths: channels of the backbone's maps, fine to coarse.
    """

    def __init__(self, config: OpenSeeDConfig, widths: Sequence[int]) -> None:
        super().__init__()
        dim = config.dim
        self.backbone_levels = config.levels - 1
        read = widths[len(widths) - self.backbone_levels :]
        projections = [nn.Conv2d(width, dim, 1) for width in read]
        projections.append(nn.Conv2d(read[-1], dim, 3, stride=2, padding=1))
        self.input_proj = nn.ModuleList(
            nn.Sequential(projection, nn.GroupNorm(_GROUPS, dim)) for projection in projections
        )
        self.level_embed = nn.Parameter(torch.randn(config.levels, dim))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.lateral = nn.Sequential(
            nn.Conv2d(widths[0], dim, 1, bias=False), nn.GroupNorm(_GROUPS, dim)
        )
        self.smooth = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1, bias=False), nn.GroupNorm(_GROUPS, dim)
        )
        self.mask_features = nn.Conv2d(dim, dim, 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Encode the maps of the backbone.

        Args:
            maps: float [B, width, H / s, W / s] for strides s of 4, 8, 16, 32.

        Returns:
            Levels of the memory, fine to coarse, each float [B, dim, h, w], and mask features
            float [B, dim, H / 4, W / 4].
        """
        inputs = [*maps[-self.backbone_levels :], maps[-1]]
        levels = [project(x) for project, x in zip(self.input_proj, inputs, strict=True)]
        sizes = tuple((level.shape[2], level.shape[3]) for level in levels)
        cells = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        positions = [
            grid_encoding(size, cells.shape[2], like=cells).flatten(0, 1) + embed
            for size, embed in zip(sizes, self.level_embed, strict=True)
        ]
        centres = torch.cat([cell_centres(size, like=cells) for size in sizes])[None, :, None]
        for layer in self.layers:
            cells = layer(cells, torch.cat(positions), centres, sizes)
        by_level = cells.transpose(1, 2).split([rows * columns for rows, columns in sizes], dim=2)
        levels = [level.unflatten(2, size) for level, size in zip(by_level, sizes, strict=True)]
        finest = F.interpolate(
            levels[0], size=maps[0].shape[-2:], mode="bilinear", align_corners=False
        )
        smooth = F.relu(self.smooth(self.lateral(maps[0]) + finest))
        return levels, self.mask_features(smooth)


def cell_centres(size: Size, like: Tensor) -> Tensor:
    """Centres (x, y) in 0..1 of the cells of a grid, row by row: float32 [rows * columns, 2]."""
    rows, columns = (
        (torch.arange(length, dtype=torch.float32, device=like.device) + 0.5) / length
        for length in size
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], -1)
