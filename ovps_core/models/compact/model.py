"""Compact part segmenter with a closed vocabulary: a feature pyramid and three softmaxes per pixel.

It follows PartCLIPSeg's construction (parts shared between objects, objects as context, classes composed of both,
a background) without its text-conditioned decoder. Every pixel gets a softmax over objects, one over generalised
parts and one over the (object, part) classes of the training set, each with a background. A query selects rows of
these maps, so each additional query costs one multiplication.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.language.mirrored_names import mirrored_rows
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.models.compact.image_prior import normalise_to, refine_with_image_prior
from ovps_core.models.compact.presence import log_odds, two_decisions
from ovps_core.models.interface import Conditions, Features, PartLogits
from ovps_core.models.network import PartModel
from ovps_core.models.objects import ObjectPredictions

_MIN_PROBABILITY = 1e-4  # keeps logits small enough for 16 bit


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _mirrored_channels(names: Sequence[tuple[str, ...]]) -> list[int] | None:
    """The channel of each name's counterpart in a mirror, background first; None if no name is of one side.

    A name without a counterpart keeps its own channel.
    """
    rows = mirrored_rows(names)
    channels = [0, *(1 + (row if other is None else other) for row, other in enumerate(rows))]
    return None if channels == list(range(len(channels))) else channels


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
        names = [(name,) for name in config.objects], [(name,) for name in config.parts]
        self._mirrored = [_mirrored_channels(each) for each in (*names, config.object_parts)]
        owners = torch.tensor([config.objects.index(name) for name, _ in config.object_parts])
        self.pair_objects: Tensor
        self.register_buffer("pair_objects", owners.long(), persistent=False)

    def encode(self, pixels: Tensor) -> Features:
        """Pixels float [B, 3, H, W] -> one level float [B, D, H/4, W/4]: probabilities of all known words."""
        softmaxes = self._probabilities(pixels)
        if self.config.flip_tta or self.config.half_scale:
            augmented = self._augmented_probabilities(pixels)
            softmaxes = [
                (ours + theirs) / 2 for ours, theirs in zip(softmaxes, augmented, strict=True)
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

    def _probabilities(self, pixels: Tensor) -> list[Tensor]:
        return [scores.float().softmax(1) for scores in self.scores(pixels)]

    def _augmented_probabilities(self, pixels: Tensor) -> list[Tensor]:
        """Probabilities from the mirrored or the smaller image, at the size and place of the first ones.

        The left door of the mirrored image is the right door.
        """
        size = [side // 4 for side in pixels.shape[-2:]]
        if self.config.half_scale:
            pixels = F.avg_pool2d(pixels, 2)
        if self.config.flip_tta:
            pixels = pixels.flip(-1)
        maps = self._probabilities(pixels)
        if self.config.flip_tta:
            maps = [
                each.flip(-1) if rows is None else each.flip(-1)[:, rows]
                for each, rows in zip(maps, self._mirrored, strict=True)
            ]
        if self.config.half_scale:
            maps = [F.interpolate(each, size=size, mode="bilinear") for each in maps]
        return maps

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
        penalty = (1 - trained) * self.config.unseen_pair_penalty
        return PartLogits(
            self._logit(names, self.config.shift),
            self._logit((1 - 0.5 * trained) * both + 0.5 * composed, self.config.shift - penalty),
        )

    def _logit(self, probability: Tensor, shift: Tensor | float) -> Tensor:
        scale, cut = self.config.scale, self.config.relative_cut
        if cut:
            return two_decisions(
                probability, scale=scale, shift=shift, relative_cut=cut, minimum=_MIN_PROBABILITY
            )
        return scale * log_odds(probability.clamp(_MIN_PROBABILITY, 1 - _MIN_PROBABILITY)) + shift
