"""The training loss of PartCLIPSeg: L_mask + 0.1 L_sep + 0.01 L_enh, released or corrected."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ovps_core.losses.attention_control import (
    attention_of_objects,
    enhancement,
    enhancement_released,
    separation,
    separation_released,
)
from ovps_core.losses.labels import ObjectPartIndex, PartTargets
from ovps_core.losses.mask_supervision import at_least_float32, mask_supervision
from ovps_core.models.interface import PartLogits
from ovps_core.models.partclipseg.corrections import Corrections


@dataclass(frozen=True)
class LossWeights:
    """Every number of the loss.

    Attributes:
        object: of L_obj.
        part: of L_part.
        separation: of L_sep; 0 skips it.
        enhancement: of L_enh; 0 skips it.
        mask_threshold: least smoothed attention, scaled to 0..1, at which a part attends to a
            pixel.
    """

    object: float = 1.0
    part: float = 1.0
    separation: float = 0.1
    enhancement: float = 0.01
    mask_threshold: float = 0.3


@dataclass(frozen=True)
class Losses:
    """Scalars of one batch, each before its weight, and their weighted sum ``total``."""

    pair_foreground: Tensor
    pair_background: Tensor
    part: Tensor
    object: Tensor
    separation: Tensor
    enhancement: Tensor
    total: Tensor


@dataclass(frozen=True)
class PartCLIPSegLoss:
    """L = L_op_fg + L_op_bg + w_o L_obj + w_p L_part + w_s L_sep + w_e L_enh.

    ``corrections`` chooses the attention losses. With ``Corrections.released()`` every value is
    that of the released code, down to a total of 0 for a batch without a background pixel (its
    loss is NaN).
    """

    weights: LossWeights = field(default_factory=LossWeights)
    corrections: Corrections = field(default_factory=Corrections)

    def __call__(
        self,
        logits: PartLogits,
        attention: Tensor,
        targets: PartTargets,
        index: ObjectPartIndex,
        grid: tuple[int, int],
    ) -> Losses:
        """The loss of one batch.

        Args:
            logits: names [B, P + O + 1, h, w] (parts, objects, background) and pairs [B, T + 1, h,
                w] (object-parts, background).
            attention: float [B, P + O + 1, heads, L, L], softmaxed self-attention of the last decoder
                block (rows are queries).
            targets: labels of any size; they are resized to the logits.
            index: rows of the names for every object-part.
            grid: (rows, columns) of the attention's tokens.
        """
        sized = targets.resized((logits.names.shape[-2], logits.names.shape[-1]))
        released = self.corrections == Corrections.released()
        masks = mask_supervision(
            logits.names,
            logits.object_parts,
            sized,
            index,
            empty_background_is_nan=released,
        )
        per_name = at_least_float32(attention).mean(dim=2)
        apart, strong = self._attention_control(per_name, sized, index, grid)
        weights = self.weights
        total = (
            masks.pair_foreground
            + masks.pair_background
            + weights.object * masks.object
            + weights.part * masks.part
            + weights.separation * apart
            + weights.enhancement * strong
        )
        return Losses(
            masks.pair_foreground,
            masks.pair_background,
            masks.part,
            masks.object,
            apart,
            strong,
            torch.nan_to_num(total) if released else total,
        )

    def _attention_control(
        self, attention: Tensor, targets: PartTargets, index: ObjectPartIndex, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """L_sep and L_enh: means over (image, object); as released, divided by B once more."""
        corrections, weights = self.corrections, self.weights
        apart = strong = attention.new_zeros(())
        if weights.separation == 0 and weights.enhancement == 0:
            return apart, strong
        count = 0
        released_list = not corrections.differentiable_separation
        for of in attention_of_objects(attention, targets, index, grid, drop_last=released_list):
            count += 1
            if corrections.differentiable_separation:
                apart = apart + separation(of, weights.mask_threshold)
            else:
                apart = apart + separation_released(of, weights.mask_threshold)
            if corrections.enhancement_over_part:
                strong = strong + enhancement(of)
            else:
                strong = strong + enhancement_released(of)
        count = max(count, 1)
        images = attention.shape[0]
        return (
            apart / (count if corrections.differentiable_separation else count * images),
            strong / (count if corrections.enhancement_over_part else count * images),
        )
