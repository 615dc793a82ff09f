"""Compact part segmenter with a closed vocabulary: a feature pyramid and three softmaxes per pixel.

It follows PartCLIPSeg's construction (parts shared between objects, objects as context, classes composed of both,
a background) without its text-conditioned decoder. Every pixel gets a softmax over objects, one over generalised
parts and one over the (object, part) classes of the training set, each with a background. A query selects rows of
these maps, so each additional query costs one multiplication.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.models.compact.image_prior import normalise_to, refine_with_image_prior
from ovps_core.models.interface import (
    ClosedVocabulary,
    Conditions,
    Features,
    ModelSpec,
    ObjectPredictions,
    PartLogits,
    PartModel,
    Preprocessing,
    QuantisationSpec,
    QuantisedLayers,
)

_MIN_PROBABILITY = 1e-4  # keeps logits small enough for 16 bit
_RENAMED = {  # fields of headers that version 0.1.0 wrote
    "pairs": "object_parts",
    "mirrored": "flip_tta",
    "agreement": "prior_strength",
    "neighbourhood": "prior_radius",
    "caution": "unseen_pair_penalty",
}


@dataclass(frozen=True)
class PartFPNConfig:
    """Configuration of a compact model.

    Attributes:
        objects, parts: known words, in the order of the softmaxes.
        object_parts: (object, part) classes that training saw.
        size: (height, width) of the network's input, pixels; multiples of 32.
        trunk: a timm network with feature maps at strides 4, 8, 16 and 32.
        dim: channels of the merged map at stride 4.
        flip_tta: average with the prediction for the mirrored image (test-time augmentation); doubles the work.
        prior_strength: exponent of the image-level object prior (:func:`refine_with_image_prior`); 0 switches it
            off.
        prior_radius: radius of the neighbourhood in that prior, cells of stride 4.
        scale, shift: calibration of a query's logit, fitted on validation scenes: ``scale * logit + shift``.
        unseen_pair_penalty: subtracted from the logit of (object, part) classes that training never saw, since
            most of them do not exist.
    """

    objects: tuple[str, ...]
    parts: tuple[str, ...]
    object_parts: tuple[tuple[str, str], ...]
    size: tuple[int, int] = (256, 288)
    trunk: str = "efficientnet_lite0"
    dim: int = 64
    flip_tta: bool = True
    prior_strength: float = 0.25
    prior_radius: int = 6
    scale: float = 1.0
    shift: float = 0.0
    unseen_pair_penalty: float = 0.0

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PartFPNConfig:
        """Read the header of a checkpoint, in which tuples are lists."""
        fields: dict[str, Any] = {
            _RENAMED.get(name, name): tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        fields["object_parts"] = tuple((name, part) for name, part in fields["object_parts"])
        return cls(**fields)

    @property
    def vocabulary(self) -> ClosedVocabulary:
        """The words that the model knows."""
        return ClosedVocabulary(self.objects, self.parts, self.object_parts)

    @property
    def spec(self) -> ModelSpec:
        """Specification of the network; the network is not built."""
        return ModelSpec(
            preprocessing=Preprocessing(size=self.size, mean=(0.5,) * 3, std=(0.5,) * 3),
            output_stride=4,
            condition_dim=len(self.objects) + len(self.parts) + len(self.object_parts),
            vocabulary=self.vocabulary,
            trained_object_parts=self.object_parts,
            answers_object_parts=True,
            safe_in_half_precision=False,
            quantisation=QuantisationSpec(
                int8={"encoder": QuantisedLayers(("inner",))},
                mixed={"encoder": QuantisedLayers(("deep", "projections"))},
            ),
        )


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class PartFPN(PartModel):
    """Feature pyramid network (FPN) on a timm trunk, with three softmaxes at stride 4."""

    config: PartFPNConfig

    def __init__(self, config: PartFPNConfig) -> None:
        super().__init__()
        import timm  # slow to import, and not needed to run exported graphs

        self.config = config
        self.spec = config.spec
        self.trunk = timm.create_model(
            config.trunk, features_only=True, out_indices=(-4, -3, -2, -1)
        )
        widths: list[int] = self.trunk.feature_info.channels()  # type: ignore[union-attr,operator]
        self.global_context = nn.Conv2d(widths[-1], widths[-1], 1)
        self.laterals = nn.ModuleList(nn.Conv2d(width, config.dim, 1) for width in widths)
        self.merges = nn.ModuleList(_conv(config.dim, config.dim) for _ in widths[1:])
        self.refine = _conv(config.dim, 2 * config.dim)
        counts = len(config.objects) + 1, len(config.parts) + 1, len(config.object_parts) + 1
        self.splits = counts
        self.head = nn.Conv2d(2 * config.dim, sum(counts), 1)
        owners = torch.tensor([config.objects.index(name) for name, _ in config.object_parts])
        self.pair_objects: Tensor
        self.register_buffer("pair_objects", owners.long(), persistent=False)

    def encode(self, pixels: Tensor) -> Features:
        """Pixels float [B, 3, H, W] -> one level float [B, D, H/4, W/4]: probabilities of all known words."""
        softmaxes = [scores.float().softmax(1) for scores in self.scores(pixels)]
        if self.config.flip_tta:
            flipped = self.scores(pixels.flip(-1))
            softmaxes = [
                (ours + theirs.float().softmax(1).flip(-1)) / 2
                for ours, theirs in zip(softmaxes, flipped, strict=True)
            ]
        objects, parts, object_parts = softmaxes
        refined = refine_with_image_prior(
            objects, strength=self.config.prior_strength, radius=self.config.prior_radius
        )
        change = (refined / objects[:, 1:].clamp(min=_MIN_PROBABILITY))[:, self.pair_objects]
        object_parts = normalise_to(object_parts[:, 1:] * change, 1 - object_parts[:, :1])
        height, width = pixels.shape[-2:]
        known = torch.cat([refined, parts[:, 1:], object_parts], dim=1)
        return Features((known,), (height, width))

    def scores(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unnormalised scores float [B, 1 + n, h, w] of objects, parts and classes, background first."""
        levels = self.trunk(pixels)
        levels[-1] = levels[-1] + self.global_context(levels[-1].mean(dim=(2, 3), keepdim=True))
        merged = self.laterals[-1](levels[-1])
        for i in range(len(levels) - 2, -1, -1):
            lateral = self.laterals[i](levels[i])
            merged = lateral + F.interpolate(merged, size=lateral.shape[-2:], mode="bilinear")
            merged = self.merges[i](merged)
        objects, parts, object_parts = self.head(self.refine(merged)).split(self.splits, dim=1)
        return objects, parts, object_parts

    def decode(
        self, features: Features, conditions: Conditions, objects: ObjectPredictions | None = None
    ) -> PartLogits:
        """Mask logits from the probabilities.

        A condition float [objects + parts + classes] weighs the known words: a name spreads over objects and parts
        (one-hot for a known word), an (object, part) class over classes. It is all zero for a class that training
        never saw; then the geometric mean of its object and its part answers alone.
        """
        known, grid = features.levels[0].flatten(2), features.levels[0].shape[-2:]
        conditions = conditions.to(known.device, known.dtype)  # also where the network is in 16 bit
        names = (conditions.names @ known).unflatten(2, grid)
        composed = (conditions.object_parts @ known).unflatten(2, grid)
        product = names[:, conditions.part_index] * names[:, conditions.object_index]
        both = product.clamp(min=_MIN_PROBABILITY**2).sqrt()
        trained = conditions.object_parts.sum(dim=1).clamp(max=1)[:, None, None]
        composed = self._logit((1 - 0.5 * trained) * both + 0.5 * composed)
        penalty = (1 - trained) * self.config.unseen_pair_penalty
        return PartLogits(self._logit(names), composed - penalty)

    def _logit(self, probability: Tensor) -> Tensor:
        clamped = probability.clamp(_MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
        return self.config.scale * (clamped.log() - (1 - clamped).log()) + self.config.shift
