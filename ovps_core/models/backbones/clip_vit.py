"""CLIP models of open_clip, and their image towers as backbones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CustomTextCLIP
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.func import functional_call

from ovps_core.errors import CheckpointError
from ovps_core.models.backbones.interface import Backbone, default_layers
from ovps_core.models.backbones.timm_backbone import TimmBackbone

ClipSpec = str | Mapping[str, Any]
"""An open_clip model name ("ViT-B-16-quickgelu"), or an open_clip configuration as a mapping."""


def build_clip(spec: ClipSpec) -> CustomTextCLIP:
    """Build an open_clip model with random weights; its image tower is ``.visual``, its text tower ``.text``.

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
    """Load an open_clip model with published weights, from the hub or its cache on this machine.

    Raises:
        CheckpointError: the weights are not in the cache, and there is no network.
    """
    try:
        return open_clip.create_model(name, pretrained=tag, force_custom_text=True)
    except Exception as error:  # open_clip and the hub's client raise a dozen unrelated kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"cannot get the CLIP weights {name!r} of {tag!r}: {reason}; open_clip fetches them, which needs "
            "a network once"
        ) from error


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
    """Wrapper whose ``forward`` is ``forward_intermediates``, because ``functional_call`` calls ``forward``."""

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


class ClipVit(Backbone):
    """An open_clip ViT, for any input size: its position table is resized.

    Args:
        visual: the image tower of a CLIP model.
        out_indices: 0-based layers to return, shallow to deep. By default they are the layers at the relative
            depth of CLIPSeg's (4th, 7th and 10th of 12).
    """

    def __init__(self, visual: VisionTransformer, out_indices: Sequence[int] = ()) -> None:
        super().__init__()
        layers = len(visual.transformer.resblocks)
        self.out_indices = tuple(out_indices) or default_layers(layers)
        self.widths = (visual.transformer.width,) * len(self.out_indices)
        self.stride = visual.patch_size[0]
        self.prefix = 1
        self.tower = _IntermediateLayers(visual)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """See :meth:`Backbone.forward`."""
        grid = self.grid(*pixels.shape[-2:])
        positions = resize_positions(self.tower.visual.positional_embedding, grid)
        out = functional_call(
            self.tower,
            {"visual.positional_embedding": positions},
            (pixels, list(self.out_indices)),
        )
        layers = zip(out["image_intermediates_prefix"], out["image_intermediates"], strict=True)
        return [torch.cat(prefix_and_tokens, 1) for prefix_and_tokens in layers]


def clip_backbone(visual: nn.Module, out_indices: Sequence[int] = ()) -> Backbone:
    """Backbone of an open_clip image tower: its ViT, or the timm network that it wraps."""
    if isinstance(visual, VisionTransformer):
        return ClipVit(visual, out_indices)
    return TimmBackbone(visual.trunk, out_indices)
