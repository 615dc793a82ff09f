"""Backbones from timm: ViTs, and hybrids whose stages have different strides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from ovps_core.models.backbones.interface import Backbone, default_layers


class TimmBackbone(Backbone):
    """Any timm model that has ``forward_intermediates``.

    These are ViTs (DINOv2, DINOv3, PE-Core, ...) and hybrids with a pyramid of stages (MobileCLIP2's FastViT).

    Args:
        network: a timm model.
        out_indices: 0-based layers to return, shallow to deep. By default they are the layers at the relative
            depth of CLIPSeg's in a ViT, or the last three stages of a hybrid.
    """

    def __init__(self, network: Any, out_indices: Sequence[int] = ()) -> None:
        super().__init__()
        strides = [level["reduction"] for level in network.feature_info]
        self.is_pyramid = len(set(strides)) > 1
        last_stages = tuple(range(len(strides)))[-3:]
        self.out_indices = tuple(out_indices) or (
            last_stages if self.is_pyramid else default_layers(len(strides))
        )
        self.widths = tuple(network.feature_info[i]["num_chs"] for i in self.out_indices)
        self.stride = sorted(strides[i] for i in self.out_indices)[len(self.out_indices) // 2]
        self.prefix = 0 if self.is_pyramid else network.num_prefix_tokens
        self.tower: Any = _any_size(network)

    @classmethod
    def from_name(
        cls, name: str, out_indices: Sequence[int] = (), pretrained: bool = False
    ) -> TimmBackbone:
        """A timm model by name; ``pretrained`` weights come from the hub or its cache."""
        return cls(timm.create_model(name, num_classes=0, pretrained=pretrained), out_indices)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """See :meth:`Backbone.forward`; the stages of a pyramid are resized to one grid."""
        if self.is_pyramid:
            grid = self.grid(*pixels.shape[-2:])
            return [
                _resize_to(level, grid).flatten(2).transpose(1, 2)
                for level in self._intermediates(pixels)
            ]
        layers = self._intermediates(pixels, output_fmt="NLC", return_prefix_tokens=True)
        return [torch.cat([prefix, tokens], 1) for tokens, prefix in layers]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """See :meth:`Backbone.grid`; a pyramid pads its input, so a part of a cell counts as one."""
        if self.is_pyramid:
            return math.ceil(height / self.stride), math.ceil(width / self.stride)
        return super().grid(height, width)

    def _intermediates(self, pixels: Tensor, **form: Any) -> Any:
        return self.tower.forward_intermediates(
            pixels,
            indices=list(self.out_indices),
            stop_early=True,
            intermediates_only=True,
            **form,
        )


def _any_size(network: Any) -> Any:
    """The network for any input size; timm's ViTs have a fixed size unless they are built with another option."""
    if getattr(network, "dynamic_img_size", True):
        return network
    name = network.pretrained_cfg["architecture"]
    rebuilt = timm.create_model(name, num_classes=0, dynamic_img_size=True)
    rebuilt.load_state_dict(network.state_dict(), strict=False)  # pooling heads are not used
    return rebuilt


def _resize_to(level: Tensor, grid: tuple[int, int]) -> Tensor:
    if tuple(level.shape[-2:]) == grid:
        return level
    return F.interpolate(level, size=grid, mode="bilinear", align_corners=False)
