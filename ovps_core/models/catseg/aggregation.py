"""Cost aggregation: similarity maps of all classes are refined over space and among each other.

Source: Cho et al., "CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic Segmentation", CVPR 2024.
"""

from __future__ import annotations

import torch.nn.functional as F
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from ovps_core.models.catseg.attention import attend
from ovps_core.models.catseg.config import CATSegConfig
from ovps_core.models.layers.guided import GuidedLinear
from ovps_core.models.layers.windows import from_windows, shifted_window_mask, to_windows


class GuidedWindowAttention(nn.Module):
    """Attention within windows; guidance takes part in queries and keys, not in values.

    Args:
        config: sizes.
        guidance: channels of the guidance; 0 for none.
    """

    def __init__(self, config: CATSegConfig, guidance: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.q = GuidedLinear(config.dim, guidance, config.dim)
        self.k = GuidedLinear(config.dim, guidance, config.dim)
        self.v = nn.Linear(config.dim, config.dim)
        self.proj = nn.Linear(config.dim, config.dim)

    def forward(self, cells: Tensor, guidance: Tensor | None, mask: Tensor | None) -> Tensor:
        """Attend within windows.

        Args:
            cells: float [B, T, windows, cells, dim].
            guidance: float [B, 1, windows, cells, guidance], or None.
            mask: float [windows, cells, cells], added to the scores; None without a shift.
        """
        projected = self.q(cells, guidance), self.k(cells, guidance), self.v(cells)
        # Windows and heads are one axis, because exported attention has four.
        query, key, value = (
            x.flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(2, 3).flatten(1, 2)
            for x in projected
        )  # [B * T, windows * heads, cells, d]
        bias = None if mask is None else mask.repeat_interleave(self.heads, 0)[None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = mixed.unflatten(1, (-1, self.heads)).transpose(2, 3).flatten(3)
        return self.proj(mixed).unflatten(0, cells.shape[:2])


class GuidedSwinBlock(nn.Module):
    """Block of Swin Transformer with guidance, without a bias for relative positions.

    Args:
        config: sizes.
        guidance: channels of the guidance; 0 for none.
        shifted: windows are shifted by half of their side, unless one window covers the map.
    """

    def __init__(self, config: CATSegConfig, guidance: int, *, shifted: bool) -> None:
        super().__init__()
        self.window, self.shifted = config.window, shifted
        self.norm1 = nn.LayerNorm(config.dim)
        self.attn = GuidedWindowAttention(config, guidance)
        self.norm2 = nn.LayerNorm(config.dim)
        self.mlp = Mlp(config.dim, 4 * config.dim)

    def forward(self, cells: Tensor, guidance: Tensor | None) -> Tensor:
        """Cells float [B, T, h, w, dim] and guidance float [B, h, w, guidance] -> the shape of the cells."""
        cells = cells + self._attention(self.norm1(cells), guidance)
        return cells + self.mlp(self.norm2(cells))

    def _attention(self, normed: Tensor, guidance: Tensor | None) -> Tensor:
        height, width = normed.shape[2:4]
        window = min(self.window, height, width)
        shift = window // 2 if self.shifted and min(height, width) > self.window else 0
        mask = shifted_window_mask(normed[:, 0], window) if shift else None

        def windows_of(maps: Tensor) -> Tensor:
            """[N, h, w, channels] -> [N, windows, cells, channels]."""
            moved = maps.roll((-shift, -shift), (1, 2)) if shift else maps
            return to_windows(moved, window)

        windows = windows_of(normed.flatten(0, 1)).unflatten(0, normed.shape[:2])
        shared = None if guidance is None else windows_of(guidance)[:, None]
        mixed = self.attn(windows, shared, mask).flatten(0, 1)
        cells = from_windows(mixed, window, (height, width))
        if shift:
            cells = cells.roll((shift, shift), (1, 2))
        return cells.unflatten(0, normed.shape[:2])


class SpatialAggregation(nn.Module):
    """Refinement of the map of each class by itself: a block with windows, and one with shifted windows.

    Args:
        config: sizes.
        guidance: channels of the guidance from the image; 0 for none.
    """

    def __init__(self, config: CATSegConfig, guidance: int) -> None:
        super().__init__()
        self.guidance_norm = nn.LayerNorm(guidance) if guidance else None
        self.blocks = nn.ModuleList(
            GuidedSwinBlock(config, guidance, shifted=shifted) for shifted in (False, True)
        )

    def forward(self, maps: Tensor, guidance: Tensor | None) -> Tensor:
        """Maps float [B, T, dim, h, w] and guidance float [B, guidance, h, w] -> the shape of the maps."""
        cells = maps.permute(0, 1, 3, 4, 2)
        shared = None
        if guidance is not None and self.guidance_norm is not None:
            shared = self.guidance_norm(guidance.permute(0, 2, 3, 1))
        for block in self.blocks:
            cells = block(cells, shared)
        return cells.permute(0, 1, 4, 2, 3)


class ClassAggregation(nn.Module):
    """Refinement of all classes at one place by each other, on pooled maps.

    Args:
        config: sizes and the kind of attention.
    """

    def __init__(self, config: CATSegConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads, self.pooling, self.kind = config.heads, config.pooling, config.class_attention
        self.norm1 = nn.LayerNorm(dim)
        self.q = GuidedLinear(dim, config.text_guidance_dim, dim)
        self.k = GuidedLinear(dim, config.text_guidance_dim, dim)
        self.v = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))

    def forward(self, maps: Tensor, text: Tensor) -> Tensor:
        """Maps float [B, T, dim, h, w] and guidance of the texts float [T, guidance] -> the shape of the maps.

        The pooled maps are added a second time on the way back, since the residual branch starts from them.
        """
        size, classes = maps.shape[-2:], maps.shape[:2]
        pooled = F.avg_pool2d(maps.flatten(0, 1), self.pooling)
        grid = pooled.shape[-2:]
        tokens = pooled.unflatten(0, classes).flatten(3).permute(0, 3, 1, 2)  # [B, cells, T, dim]
        tokens = tokens + self._attention(self.norm1(tokens), text)
        tokens = tokens + self.mlp(self.norm2(tokens))
        refined = tokens.permute(0, 2, 3, 1).unflatten(3, grid).flatten(0, 1)
        refined = F.interpolate(refined, size=size, mode="bilinear", align_corners=True)
        return maps + refined.unflatten(0, classes)

    def _attention(self, normed: Tensor, text: Tensor) -> Tensor:
        projected = self.q(normed, text), self.k(normed, text), self.v(normed)
        query, key, value = (
            x.unflatten(-1, (self.heads, -1)).transpose(2, 3) for x in projected
        )  # [B, cells, heads, T, d]
        return attend(self.kind, query, key, value).transpose(2, 3).flatten(3)


class AggregationLayer(nn.Module):
    """Aggregation over space, then among classes.

    Args:
        config: sizes and the kind of attention.
        guidance: channels of the guidance from the image; 0 for none.
    """

    def __init__(self, config: CATSegConfig, guidance: int) -> None:
        super().__init__()
        self.spatial = SpatialAggregation(config, guidance)
        self.classes = ClassAggregation(config)

    def forward(self, maps: Tensor, guidance: Tensor | None, text: Tensor) -> Tensor:
        """Maps float [B, T, dim, h, w], guidance [B, guidance, h, w], texts [T, guidance] -> refined maps."""
        return self.classes(self.spatial(maps, guidance), text)


class CostBranch(nn.Module):
    """Embedding of similarities with all prompts, and the layers that refine it.

    Args:
        config: sizes and the kind of attention.
        guidance: channels of the guidance from the image; 0 for none.
    """

    def __init__(self, config: CATSegConfig, guidance: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(config.templates, config.dim, 7, padding=3)
        self.layers = nn.ModuleList(
            AggregationLayer(config, guidance) for _ in range(config.layers)
        )

    def embedded(self, cost: Tensor) -> Tensor:
        """Similarities float [B, T, M, h, w] with M prompts -> float [B, T, dim, h, w]."""
        return self.embed(cost.flatten(0, 1)).unflatten(0, cost.shape[:2])

    def forward(self, cost: Tensor, guidance: Tensor | None, text: Tensor) -> Tensor:
        """Similarities float [B, T, M, h, w] with M prompts -> refined maps float [B, T, dim, h, w]."""
        maps = self.embedded(cost)
        for layer in self.layers:
            maps = layer(maps, guidance, text)
        return maps
