"""CLIPSeg: a mask for any phrase (Lüddecke and Ecker, CVPR 2022), with the image encoded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from torch import Tensor

from ovps_core.models.backbones.clip_vit import Backbone, ClipSpec, build_clip
from ovps_core.models.clipseg.decoder import FilmDecoder, Upsampler, tokens_to_maps
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    Features,
    PartLogits,
    PartModel,
    Preprocessing,
    QueryRows,
)
from ovps_core.models.text.tower import TextTower
from ovps_core.structures.query import PartQuery


@dataclass(frozen=True)
class CLIPSegConfig:
    """Every number of a CLIPSeg.

    Attributes:
        clip: the open_clip model whose text tower, and image tower unless ``backbone`` is set, are used.
        backbone: a timm model as image tower; empty for ``clip``'s own.
        taps: 0-based layers read by the decoder, shallow to deep; empty for the backbone's default.
        image_size: side of the square that images are squashed to, pixels.
        dim, heads, mlp_dim: of the decoder's blocks.
        refined_upsampling: the convolutional upsampler (rd64-refined) or a single step (rd64).
    """

    clip: ClipSpec = "ViT-B-16-quickgelu"
    backbone: str = ""
    taps: tuple[int, ...] = ()
    image_size: int = 352
    dim: int = 64
    heads: int = 4
    mlp_dim: int = 2048
    refined_upsampling: bool = True

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CLIPSegConfig:
        """From the header of a checkpoint, where tuples have become lists."""
        return cls(**{**values, "taps": tuple(values["taps"])})


class CLIPSeg(PartModel):
    """One condition a phrase; pairs are not used: "knife handle" is one phrase like any other."""

    def __init__(self, config: CLIPSegConfig) -> None:
        super().__init__()
        self.config = config
        self.preprocessing = Preprocessing(size=(config.image_size, config.image_size))
        clip = build_clip(config.clip)
        self.text = TextTower(clip.text, _tokenizer(config.clip, clip.context_length))
        if config.backbone:
            self.backbone = Backbone.from_timm(config.backbone, config.taps)
        else:
            self.backbone = Backbone(clip.visual, config.taps)
        self.condition_dim = clip.text.output_dim
        self.decoder = FilmDecoder(
            self.backbone.widths,
            self.condition_dim,
            dim=config.dim,
            heads=config.heads,
            mlp_dim=config.mlp_dim,
        )
        self.upsample = Upsampler(config.dim, self.backbone.stride, config.refined_upsampling)

    def encode(self, pixels: Tensor) -> Features:
        """Pixels float [B, 3, H, W] -> the tapped tokens, reduced to the decoder's width."""
        height, width = pixels.shape[-2:]
        return Features(self.decoder.reduce(self.backbone(pixels)), (height, width))

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """One map a phrase: ``names`` float [B, C, h, w]; ``pairs`` stays empty."""
        tokens, _ = self.decoder(features.levels, conditions.names)
        grid = self.backbone.grid(*features.size)
        logits = self.upsample(tokens_to_maps(tokens, grid, self.backbone.prefix))
        return PartLogits(names=logits, pairs=logits[:, :0])

    def plan(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """One condition a query: its object and part as one phrase."""
        phrases = [f"{query.object} {query.part}".strip() for query in queries]
        names = self.text.embed(phrases) if phrases else torch.zeros(0, self.condition_dim)
        none = torch.zeros(0, dtype=torch.int64)
        return EncodedQueries(
            queries=tuple(queries),
            conditions=Conditions(names, names[:0], none, none),
            query_rows=tuple(QueryRows(names=(row,)) for row in range(len(phrases))),
        )


def _tokenizer(clip: ClipSpec, context_length: int):  # type: ignore[no-untyped-def]
    if isinstance(clip, str):
        return open_clip.get_tokenizer(clip)
    return open_clip.SimpleTokenizer(context_length=context_length)
