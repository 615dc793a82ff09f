"""CLIPSeg (Lüddecke and Ecker, CVPR 2022): a mask for any phrase, with the image encoded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.model import CustomTextCLIP
from torch import Tensor, nn

from ovps_core.models.backbones.clip_vit import ClipSpec, build_clip, clip_backbone
from ovps_core.models.backbones.interface import Backbone
from ovps_core.models.backbones.timm_backbone import TimmBackbone
from ovps_core.models.clipseg.adapter import VisualAdapter
from ovps_core.models.clipseg.decoder import FilmDecoder, Upsampler, tokens_to_maps
from ovps_core.models.interface import (
    ClosedVocabulary,
    Conditions,
    Features,
    ModelSpec,
    PartLogits,
    Preprocessing,
    QuantisationSpec,
    QuantisedLayers,
)
from ovps_core.models.network import PartModel
from ovps_core.models.objects import ObjectPredictions

# The layers that stay in floating point take little time and would cause most of the loss in accuracy. The mask
# IoU of a ViT-B/16 with random weights was 0.964 with the first and last layers in int8, and 0.985 without. Deep
# features pass through more blocks of the decoder, which normalise them, so int8 costs them almost no accuracy. In
# the decoder only the MLPs read normalised values.
_QUANTISATION = QuantisationSpec(
    int8={
        "encoder": QuantisedLayers(("inner",)),
        "part_decoder": QuantisedLayers(("mlps",), normalised_inputs=True),
    },
    mixed={"encoder": QuantisedLayers(("deep", "projections"))},
)


@dataclass(frozen=True)
class CLIPSegConfig:
    """Configuration of a CLIPSeg.

    Attributes:
        clip: the open_clip model that provides the text tower, and the image tower unless ``backbone`` is set.
        backbone: a timm model as image tower; empty for ``clip``'s own.
        out_indices: 0-based layers read by the decoder, shallow to deep; empty for the backbone's default.
        image_size: side of the square to which images are resized, pixels.
        dim, heads, mlp_dim: sizes of the decoder's blocks.
        refined_upsampling: the convolutional upsampler (rd64-refined) or a single step (rd64).
        trained_object_parts: the (object, part) classes that the weights were trained on, in their order. With
            any, the network is ``adapted``.
    """

    clip: ClipSpec = "ViT-B-16-quickgelu"
    backbone: str = ""
    out_indices: tuple[int, ...] = ()
    image_size: int = 352
    dim: int = 64
    heads: int = 4
    mlp_dim: int = 2048
    refined_upsampling: bool = True
    trained_object_parts: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CLIPSegConfig:
        """Read the header of a checkpoint, in which tuples are lists."""
        return cls(**clipseg_fields(values))

    @property
    def vocabulary(self) -> ClosedVocabulary | None:
        """None, because the model takes any words."""
        return None

    @property
    def adapted(self) -> bool:
        """Whether the network has the adapter and the background of a model that was trained on parts."""
        return bool(self.trained_object_parts)


class CLIPSeg(PartModel):
    """CLIPSeg: each phrase is one condition, so "knife handle" is a single name.

    Args:
        config: configuration of the network.
        clip: the CLIP model whose image tower is used unless ``config.backbone`` is set; built from
            ``config.clip`` by default.
    """

    config: CLIPSegConfig

    def __init__(self, config: CLIPSegConfig, clip: CustomTextCLIP | None = None) -> None:
        super().__init__()
        self.config = config
        clip = clip or build_clip(config.clip)
        self.backbone: Backbone
        if config.backbone:
            self.backbone = TimmBackbone.from_name(config.backbone, config.out_indices)
        else:
            self.backbone = clip_backbone(clip.visual, config.out_indices)
        self.spec = ModelSpec(
            preprocessing=Preprocessing(size=(config.image_size, config.image_size)),
            condition_dim=clip.text.output_dim,
            trained_object_parts=config.trained_object_parts,
            quantisation=_QUANTISATION,
        )
        self.decoder = FilmDecoder(
            self.backbone.widths,
            self.spec.condition_dim,
            dim=config.dim,
            heads=config.heads,
            mlp_dim=config.mlp_dim,
        )
        self.upsample = Upsampler(config.dim, self.backbone.stride, config.refined_upsampling)
        self.adapter: nn.Module = nn.Identity()
        if config.adapted:
            widths, dim = set(self.backbone.widths), self.spec.condition_dim
            # One adapter serves all layers; the stages of a pyramid differ in width.
            if len(widths) == 1:
                self.adapter = VisualAdapter(widths.pop())
            self.background: Tensor  # random, never trained, as released
            self.register_buffer("background", torch.randn(1, dim) * dim**-0.5)

    def with_background(self, names: Tensor) -> Tensor:
        """Embeddings float [C, D] of names, with that of the background as the last row; of an adapted network."""
        return torch.cat([names, self.background.to(names)])

    def encode(self, pixels: Tensor) -> Features:
        """Pixels float [B, 3, H, W] -> tokens of the layers ``out_indices``, reduced to the decoder's width."""
        layers = [self.adapter(tokens) for tokens in self.backbone(pixels)]
        height, width = pixels.shape[-2:]
        return Features(self.decoder.reduce(layers), (height, width))

    def decode(
        self, features: Features, conditions: Conditions, objects: ObjectPredictions | None = None
    ) -> PartLogits:
        """One map per phrase: ``names`` float [B, C, h, w]; ``object_parts`` is empty."""
        tokens, _ = self.decoder(features.levels, conditions.names)
        grid = self.backbone.grid(*features.size)
        logits = self.upsample(tokens_to_maps(tokens, grid, self.backbone.prefix))
        return PartLogits.names_only(logits)


def clipseg_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration from a header; version 0.1.0 wrote ``taps`` and ``trained_pairs``."""
    fields = dict(values)
    out_indices = fields.pop("taps", None) or fields.get("out_indices", ())
    trained = fields.pop("trained_pairs", None) or fields.get("trained_object_parts", ())
    return {
        **fields,
        "out_indices": tuple(out_indices),
        "trained_object_parts": tuple((name, part) for name, part in trained),
    }
