"""The training losses of PartCATSeg and CAT-Seg: mask losses of both branches, and the compositional loss."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.labels import ObjectPartIndex, PartTargets
from ovps_core.losses.mask_supervision import (
    at_least_float32,
    every_pixel_loss,
    mask_supervision,
)
from ovps_core.models.interface import PartLogits
from ovps_core.models.partcatseg.corrections import Corrections
from ovps_core.models.partcatseg.model import BranchOutputs

_EPSILON = 1e-10


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms.

    Attributes:
        object: weight of L_obj.
        part: weight of L_part.
        composition: weight of L_JS; 0 skips it.
    """

    object: float = 1.0
    part: float = 1.0
    composition: float = 1.0


@dataclass(frozen=True)
class Losses:
    """Scalars of one batch, each before its weight, and their weighted sum.

    Attributes:
        object_part_foreground: L_fg.
        object_part_background: L_bg.
        part: L_part.
        object: L_obj.
        composition: L_JS, 0 to log 2.
        total: the weighted sum.
    """

    object_part_foreground: Tensor
    object_part_background: Tensor
    part: Tensor
    object: Tensor
    composition: Tensor
    total: Tensor


@dataclass(frozen=True)
class PartCATSegLoss:
    """L = L_fg + L_bg + w_p L_part + w_o L_obj + w_c L_JS; ``corrections`` selects the compositional loss."""

    weights: LossWeights = field(default_factory=LossWeights)
    corrections: Corrections = field(default_factory=Corrections)

    def __call__(
        self, outputs: BranchOutputs, targets: PartTargets, index: ObjectPartIndex
    ) -> Losses:
        """The loss of one batch.

        Args:
            outputs: both branches, for names [B, P + O + 1, h, w] (parts, objects, background) and object-parts
                [B, T + 1, h, w] (object-parts, background).
            targets: labels of any size; the logits are resized to them.
            index: rows of the names for every object-part.
        """
        size = targets.object_parts.shape[-2:]
        names, object_parts = (
            upsampled(maps, (size[0], size[1]))
            for maps in (outputs.logits.names, outputs.logits.object_parts)
        )
        masks = mask_supervision(names, object_parts, targets, index)
        composition = names.new_zeros(())
        if self.weights.composition:
            composition = self._composition(outputs, index)
        total = (  # in the released order, which decides the last digit
            masks.object_part_foreground
            + masks.object_part_background
            + self.weights.part * masks.part
            + self.weights.object * masks.object
            + self.weights.composition * composition
        )
        return Losses(
            masks.object_part_foreground,
            masks.object_part_background,
            masks.part,
            masks.object,
            composition,
            total,
        )

    def _composition(self, outputs: BranchOutputs, index: ObjectPartIndex) -> Tensor:
        if self.corrections.trained_composition:
            names, pairs = outputs.logits.names, outputs.logits.object_parts
        else:
            names, pairs = outputs.name_cost.mean(2), outputs.pair_cost.mean(2)
        objects = names[:, index.num_parts :]
        return compositional_loss(
            at_least_float32(objects), at_least_float32(pairs), index.object - index.num_parts
        )


def compositional_loss(objects: Tensor, object_parts: Tensor, object_of: Tensor) -> Tensor:
    """L_JS: the parts of an object together should be where the object is.

    The Jensen-Shannon divergence, in nats, between the distribution over objects and that over (object, part)
    classes summed up for each object; mean over cells.

    Args:
        objects: float [B, O + 1, h, w], scores of objects and background.
        object_parts: float [B, T + 1, h, w], scores of (object, part) classes and background.
        object_of: int64 [T], the object of each class, 0..O-1.
    """
    background = torch.tensor([objects.shape[1] - 1], device=object_of.device)
    rows = torch.cat([object_of, background])
    composed = torch.zeros_like(objects).index_add(1, rows, object_parts.softmax(1)) + _EPSILON
    whole = objects.softmax(1) + _EPSILON
    mean = (composed + whole) / 2

    def divergence(share: Tensor) -> Tensor:
        return (share * ((share + _EPSILON) / (mean + _EPSILON)).log()).sum(1)

    return ((divergence(composed) + divergence(whole)) / 2).mean()


def catseg_loss(logits: PartLogits, targets: PartTargets) -> Tensor:
    """The loss of CAT-Seg and of CLIPSeg on parts: binary cross-entropy of every pixel.

    A pixel without a part label is background.

    Args:
        logits: ``names`` float [B, T + 1, h, w], (object, part) classes and background.
        targets: labels of any size; the logits are resized to them. Pixels of ``UNKNOWN`` content do not count.
    """
    size = targets.object_parts.shape[-2:]
    maps = upsampled(logits.names, (size[0], size[1]))
    background = maps.shape[1] - 1
    labels = torch.where(targets.object_parts == IGNORE, background, targets.object_parts)
    return every_pixel_loss(maps, labels)


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits float [B, C, h, w] at (height, width) ``size``, in float32 or more."""
    maps = at_least_float32(maps)
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
