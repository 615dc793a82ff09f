"""Configuration of an OpenSeeD, and the sizes of its released variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ovps_core.models.interface import ClosedVocabulary
from ovps_core.models.openseed.corrections import Corrections


@dataclass(frozen=True)
class SwinConfig:
    """Sizes of a Swin Transformer (Liu et al., ICCV 2021).

    Attributes:
        width: channels after the patch embedding; they double at each stage.
        depths: blocks per stage.
        heads: attention heads per stage.
        window: side of an attention window, cells.
    """

    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7


@dataclass(frozen=True)
class TextConfig:
    """Sizes of the text tower.

    Attributes:
        context_length: tokens per text.
        vocab_size: number of token ids.
        width, heads, layers: sizes of the transformer.
    """

    context_length: int = 77
    vocab_size: int = 49408
    width: int = 512
    heads: int = 8
    layers: int = 12


@dataclass(frozen=True)
class OpenSeeDConfig:
    """Configuration of an OpenSeeD; the defaults are the released Swin-T without stuff queries.

    Attributes:
        backbone: sizes of the image backbone.
        trunk: name of a timm network that takes the place of the Swin; empty for the Swin.
        text: sizes of the text tower.
        text_dim: D of the embeddings of names.
        dim: channels of features and queries.
        mlp_dim: hidden channels of the feed-forward layers.
        levels: feature levels of the pixel encoder, the extra one at half the backbone's lowest resolution
            included: 4 start at stride 8, 5 at stride 4.
        encoder_layers, decoder_layers: numbers of layers.
        heads: heads of every attention outside the towers.
        points: sampled points per head and level.
        object_queries: queries selected from the image by the names.
        stuff_queries: learned queries for stuff; 0 in the variant "base", 100 in "decouple".
        max_instances: answers in an image that evaluations rank, the highest score first.
        short_side, max_side: the image is resized so that its short side has ``short_side`` pixels, but the long
            one at most ``max_side``.
        corrections: differences of the training from the released one.
    """

    backbone: SwinConfig = SwinConfig()
    trunk: str = ""
    text: TextConfig = TextConfig()
    text_dim: int = 512
    dim: int = 256
    mlp_dim: int = 2048
    levels: int = 4
    encoder_layers: int = 6
    decoder_layers: int = 9
    heads: int = 8
    points: int = 4
    object_queries: int = 300
    stuff_queries: int = 0
    max_instances: int = 100
    short_side: int = 800
    max_side: int = 1333
    corrections: Corrections = Corrections()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OpenSeeDConfig:
        """Read the header of a checkpoint, in which tuples are lists."""
        swin = values["backbone"]
        backbone = {**swin, "depths": tuple(swin["depths"]), "heads": tuple(swin["heads"])}
        nested = {
            "backbone": SwinConfig(**backbone),
            "text": TextConfig(**values["text"]),
            "corrections": Corrections(**values["corrections"]),
        }
        return cls(**{**values, **nested})

    @property
    def vocabulary(self) -> ClosedVocabulary | None:
        """None, because the model takes any words."""
        return None
