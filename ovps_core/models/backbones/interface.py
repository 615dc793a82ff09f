"""Interface of image backbones: pixels to the tokens of a few layers, all on one grid."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """An image tower that returns the tokens of a few layers.

    Attributes:
        out_indices: 0-based layers that are returned, shallow to deep.
        widths: channels of each returned layer.
        stride: pixels per grid cell.
        prefix: number of tokens in front of those of the grid (class token, registers).
    """

    out_indices: tuple[int, ...]
    widths: tuple[int, ...]
    stride: int
    prefix: int

    @abstractmethod
    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Normalised pixels float [B, 3, H, W] -> per layer float [B, prefix + h * w, width].

        All layers are on one grid, ``h, w = self.grid(H, W)``.
        """

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens for pixels of that size."""
        return height // self.stride, width // self.stride


def default_layers(depth: int) -> tuple[int, ...]:
    """Layers of a ViT with ``depth`` layers, at the depth of CLIPSeg's layers 3, 6 and 9 of 12."""
    return tuple(round(i * depth / 12) for i in (3, 6, 9))
