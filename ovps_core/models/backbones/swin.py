"""Swin Transformer (Liu et al., ICCV 2021) as a pyramid of feature maps, as Mask2Former and its successors use it.

Their weights expect maps that are padded to whole windows before the cyclic shift, and a shift also on maps
smaller than a window. timm's Swin pads after the shift, so its results differ wherever a map is no multiple of the
window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from ovps_core.models.layers.windows import from_windows, shifted_window_mask, to_windows

_PATCH = 4


class PatchEmbed(nn.Module):
    """Linear embedding of 4x4 patches, normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, _PATCH, stride=_PATCH)
        self.norm = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels float [B, 3, H, W] -> float [B, ceil(H / 4), ceil(W / 4), width]."""
        return self.norm(self.proj(_padded(pixels, _PATCH)).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """Merging of 2x2 cells into one with twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, cells: Tensor) -> Tensor:
        """Cells float [B, h, w, width] -> float [B, ceil(h / 2), ceil(w / 2), 2 * width]."""
        cells = F.pad(cells, (0, 0, 0, cells.shape[2] % 2, 0, cells.shape[1] % 2))
        corners = [cells[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class WindowAttention(nn.Module):
    """Self-attention within windows, with a learned bias for each relative position.

    Args:
        width: channels.
        heads: number of heads.
        window: side of a window, cells.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(
            torch.randn((2 * window - 1) ** 2, heads) * 0.02
        )
        cells = torch.cartesian_prod(torch.arange(window), torch.arange(window))
        rows, columns = (cells[:, None] - cells + window - 1).unbind(-1)
        self.position_index: Tensor
        self.register_buffer("position_index", rows * (2 * window - 1) + columns, persistent=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attend within windows.

        Args:
            windows: float [B, windows, cells, width].
            mask: float [windows, cells, cells], added to the logits; None without a shift.
        """
        batch, count = windows.shape[:2]
        qkv = self.qkv(windows.flatten(0, 1)).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)  # [B * windows, heads, cells, d]
        bias = self.relative_position_bias_table[self.position_index].permute(2, 0, 1)[None]
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(batch, 1, 1, 1)
        # Spelled out: TensorRT has no fused attention for windows with a bias.
        logits = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1) + bias
        mixed = logits.softmax(-1) @ values
        return self.proj(mixed.transpose(1, 2).flatten(2)).unflatten(0, (batch, count))


class SwinBlock(nn.Module):
    """Attention within windows, which odd blocks shift by half a window, and a feed-forward network."""

    def __init__(self, width: int, heads: int, window: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)
        self.drop_path = DropPath(drop_path)

    def forward(self, cells: Tensor, shift_mask: Tensor) -> Tensor:
        """Cells float [B, h, w, width] -> the same shape; the mask is :func:`shifted_window_mask`'s."""
        height, width = cells.shape[1:3]
        normed = _padded(self.norm1(cells).permute(0, 3, 1, 2), self.window).permute(0, 2, 3, 1)
        if self.shift:
            normed = normed.roll((-self.shift, -self.shift), (1, 2))
        mixed = self.attn(to_windows(normed, self.window), shift_mask if self.shift else None)
        mixed = from_windows(mixed, self.window, normed.shape[1:3])
        if self.shift:
            mixed = mixed.roll((self.shift, self.shift), (1, 2))
        cells = cells + self.drop_path(mixed[:, :height, :width])
        return cells + self.drop_path(self.mlp(self.norm2(cells)))


class SwinStage(nn.Module):
    """Blocks at one resolution; ``downsample`` leads to the next stage."""

    def __init__(
        self, width: int, heads: int, window: int, drop_paths: Sequence[float], last: bool
    ) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, window, (index % 2) * (window // 2), rate)
            for index, rate in enumerate(drop_paths)
        )
        self.downsample = nn.Identity() if last else PatchMerging(width)

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Cells float [B, h, w, width] -> the stage's output of the same shape, and the next stage's input."""
        mask = shifted_window_mask(cells, self.window)
        for block in self.blocks:
            cells = block(cells, mask)
        return cells, self.downsample(cells)


class SwinPyramid(nn.Module):
    """Swin Transformer for inputs of any size, with a normalised map of each stage.

    Args:
        width: channels after the patch embedding.
        depths, heads: blocks and attention heads of each stage.
        window: side of an attention window, cells.
        drop_path: highest rate of stochastic depth in training.

    Attributes:
        widths: channels of each map, fine to coarse; strides are 4, 8, 16, 32.
    """

    def __init__(
        self,
        width: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.widths = tuple(width * 2**stage for stage in range(len(depths)))
        rates = [drop_path * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
        starts = [sum(depths[:stage]) for stage in range(len(depths))]
        self.patch_embed = PatchEmbed(width)
        self.layers = nn.ModuleList()
        for i, channels in enumerate(self.widths):
            drop_paths = rates[starts[i] : starts[i] + depths[i]]
            last = i == len(depths) - 1
            self.layers.append(SwinStage(channels, heads[i], window, drop_paths, last))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in self.widths)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Pixels float [B, 3, H, W] -> maps float [B, width, H / s, W / s], rounded up, fine to coarse."""
        merged = self.patch_embed(pixels)
        maps = []
        for stage, norm in zip(self.layers, self.norms, strict=True):
            cells, merged = stage(merged)
            maps.append(norm(cells).permute(0, 3, 1, 2).contiguous())
        return maps


def _padded(maps: Tensor, multiple: int) -> Tensor:
    """Maps [B, C, h, w] with zeros at the right and bottom, up to multiples of ``multiple``."""
    height, width = maps.shape[-2:]
    return F.pad(maps, (0, -width % multiple, 0, -height % multiple))
