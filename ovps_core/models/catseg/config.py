"""Configuration of a CAT-Seg, which a PartCATSeg extends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ovps_core.models.backbones.clip_vit import ClipSpec
from ovps_core.models.interface import ClosedVocabulary

GuidanceSpec = str | Mapping[str, Any]
"""A timm model's name ("vit_small_patch14_dinov2"), or a mapping with its ``name`` and other arguments."""

ClassAttention = Literal["linear", "query"]
"""Kind of attention among classes; :mod:`ovps_core.models.catseg.attention` defines both."""


@dataclass(frozen=True)
class CATSegConfig:
    """Configuration of a CAT-Seg; the defaults are those of the baseline beside PartCATSeg.

    Attributes:
        clip: the open_clip model of the dense features and the text tower, with a ViT as image tower.
        image_size: side of the square that CLIP sees, pixels.
        guidance: a timm model whose features guide aggregation and decoder; empty for none.
        guidance_size: side of the square that the guidance model sees, pixels.
        templates: prompts for each name, the first of CLIP's 80 for ImageNet.
        dim: channels of the aggregated maps.
        heads: heads of all attention in the aggregation.
        layers: aggregation layers.
        window: side of a window of the spatial aggregation, cells; it divides the cells of a larger image.
        pooling: cells per side that share one aggregation over the classes.
        guidance_dim: channels of the guidance of the spatial aggregation.
        text_guidance_dim: channels of the guidance of the aggregation over classes.
        decoder_dims: channels of the two upsampling steps.
        decoder_guidance_dims: channels of the guidance of each step; included in what the step reads.
        trained_object_parts: the (object, part) classes that the weights were trained on, in their order.
    """

    clip: ClipSpec = "ViT-B-16-quickgelu"
    image_size: int = 384
    guidance: GuidanceSpec = "vit_small_patch14_dinov2"
    guidance_size: int = 448
    templates: int = 80
    dim: int = 128
    heads: int = 4
    layers: int = 2
    window: int = 12
    pooling: int = 2
    guidance_dim: int = 128
    text_guidance_dim: int = 128
    decoder_dims: tuple[int, int] = (64, 32)
    decoder_guidance_dims: tuple[int, int] = (32, 16)
    trained_object_parts: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CATSegConfig:
        """Read the header of a checkpoint, in which tuples are lists."""
        return cls(**catseg_fields(values))

    @property
    def vocabulary(self) -> ClosedVocabulary | None:
        """None, because the model takes any words."""
        return None

    @property
    def class_attention(self) -> ClassAttention:
        """Kind of attention among classes."""
        return "linear"


def catseg_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration from the header of a checkpoint, with tuples in place of lists."""
    return {
        **values,
        "decoder_dims": tuple(values["decoder_dims"]),
        "decoder_guidance_dims": tuple(values["decoder_guidance_dims"]),
        "trained_object_parts": tuple((n, p) for n, p in values["trained_object_parts"]),
    }
