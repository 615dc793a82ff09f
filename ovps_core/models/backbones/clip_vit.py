"""Image towers of open_clip and timm behind one interface: pixels to the tokens of a few layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import open_clip
import timm
import torch
import torch.nn.functional as F
from open_clip.model import CustomTextCLIP
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.func import functional_call

from ovps_core.errors import CheckpointError

ClipSpec = str | Mapping[str, Any]
"""An open_clip model name ("ViT-B-16-quickgelu"), or an open_clip configuration as a mapping."""


def build_clip(spec: ClipSpec) -> CustomTextCLIP:
    """An open_clip model with its image tower at ``.visual`` and its text tower at ``.text``, random weights.

    Raises:
        CheckpointError: open_clip does not know the name.
    """
    if isinstance(spec, str):
        known = open_clip.get_model_config(spec)
        if known is None:
            raise CheckpointError(
                f"open_clip has no model {spec!r}; `python -c 'import open_clip; print(open_clip.list_models())'` "
                "prints those it has"
            )
        spec = {key: value for key, value in known.items() if key != "custom_text"}
    return CustomTextCLIP(**spec)


def pretrained_clip(name: str, tag: str) -> CustomTextCLIP:
    """:func:`build_clip` with published weights, from the hub or its cache on this machine."""
    return open_clip.create_model(name, pretrained=tag, force_custom_text=True)


def resize_positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bicubically resize the patch rows of a position table; the class row stays.

    Args:
        table: float [1 + n * n, D] of a square grid.
        grid: (rows, columns) wanted.

    Returns:
        float [1 + rows * columns, D].
    """
    side = math.isqrt(table.shape[0] - 1)
    if grid == (side, side):
        return table
    patches = table[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([table[:1], patches.flatten(2).squeeze(0).T])


class _IntermediateLayers(nn.Module):
    """Gives ``forward_intermediates`` the name ``forward`` so that ``functional_call`` can reach it."""

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, pixels: Tensor, indices: list[int]) -> dict[str, list[Tensor]]:
        return self.visual.forward_intermediates(
            pixels,
            indices=indices,
            stop_early=True,
            intermediates_only=True,
            output_fmt="NLC",
            output_extra_tokens=True,
        )


class Backbone(nn.Module):
    """An image tower that returns the tokens of a few layers.

    Any open_clip ViT, and any timm model that has ``forward_intermediates``: ViTs (DINOv2, DINOv3, PE-Core, ...)
    and hybrids whose stages have different strides (MobileCLIP2's FastViT).

    Args:
        tower: an open_clip image tower or a timm model.
        out_indices: 0-based layers to return, shallow to deep; empty takes the layers at the same relative depth
            as CLIPSeg does in a ViT-B (4th, 7th and 10th of 12), or the last stages of a hybrid.

    Attributes:
        out_indices: layers returned, shallow to deep.
        widths: channels of each returned layer.
        stride: pixels per grid cell.
        prefix: tokens in front of the grid's (class token, registers).
    """

    def __init__(self, tower: nn.Module, out_indices: Sequence[int] = ()) -> None:
        super().__init__()
        trunk: Any = getattr(tower, "trunk", tower)
        self.is_clip_vit = isinstance(trunk, VisionTransformer)
        self.is_pyramid = False
        self.out_indices: tuple[int, ...]
        self.widths: tuple[int, ...]
        self.stride: int
        self.prefix: int
        if self.is_clip_vit:
            depth = len(trunk.transformer.resblocks)
            self.out_indices = tuple(out_indices) or _relative_layers(depth)
            self.widths = (trunk.transformer.width,) * len(self.out_indices)
            self.stride = trunk.patch_size[0]
            self.prefix = 1
            self.tower: Any = _IntermediateLayers(trunk)
            return
        strides = [level["reduction"] for level in trunk.feature_info]
        self.is_pyramid = len(set(strides)) > 1
        last_stages = tuple(range(len(strides)))[-3:]
        self.out_indices = tuple(out_indices) or (
            last_stages if self.is_pyramid else _relative_layers(len(strides))
        )
        self.widths = tuple(trunk.feature_info[i]["num_chs"] for i in self.out_indices)
        self.stride = sorted(strides[i] for i in self.out_indices)[len(self.out_indices) // 2]
        self.prefix = 0 if self.is_pyramid else trunk.num_prefix_tokens
        self.tower = _any_size(trunk)

    @classmethod
    def from_timm(
        cls, name: str, out_indices: Sequence[int] = (), pretrained: bool = False
    ) -> Backbone:
        """A timm model by name; ``pretrained`` weights come from the hub or its cache."""
        return cls(timm.create_model(name, num_classes=0, pretrained=pretrained), out_indices)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Normalised pixels float [B, 3, H, W] -> per layer float [B, prefix + h * w, width].

        All layers are on one grid, ``h, w = self.grid(H, W)``.
        """
        grid = self.grid(*pixels.shape[-2:])
        if self.is_clip_vit:
            positions = resize_positions(self.tower.visual.positional_embedding, grid)
            out = functional_call(
                self.tower,
                {"visual.positional_embedding": positions},
                (pixels, list(self.out_indices)),
            )
            prefixes = out["image_intermediates_prefix"]
            return [
                torch.cat(pair, 1)
                for pair in zip(prefixes, out["image_intermediates"], strict=True)
            ]
        taps = self.tower.forward_intermediates(
            pixels,
            indices=list(self.out_indices),
            stop_early=True,
            intermediates_only=True,
            **({} if self.is_pyramid else {"output_fmt": "NLC", "return_prefix_tokens": True}),
        )
        if self.is_pyramid:
            return [_on_grid(level, grid).flatten(2).transpose(1, 2) for level in taps]
        return [torch.cat([prefix, tokens], 1) for tokens, prefix in taps]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens for pixels of that size."""
        if self.is_pyramid:
            return math.ceil(height / self.stride), math.ceil(width / self.stride)
        return height // self.stride, width // self.stride


def _relative_layers(depth: int) -> tuple[int, ...]:
    """Layers of a ``depth``-layer ViT at the relative depth of layers 3, 6 and 9 of 12."""
    return tuple(round(i * depth / 12) for i in (3, 6, 9))


def _any_size(trunk: Any) -> Any:
    """The network for any input size; timm's ViTs fix theirs unless they are built otherwise."""
    if getattr(trunk, "dynamic_img_size", True):
        return trunk
    name = trunk.pretrained_cfg["architecture"]
    rebuilt = timm.create_model(name, num_classes=0, dynamic_img_size=True)
    rebuilt.load_state_dict(trunk.state_dict(), strict=False)  # pooling heads are not used
    return rebuilt


def _on_grid(level: Tensor, grid: tuple[int, int]) -> Tensor:
    if tuple(level.shape[-2:]) == grid:
        return level
    return F.interpolate(level, size=grid, mode="bilinear", align_corners=False)
