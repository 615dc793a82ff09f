"""The training loss of PartCLIPSeg: L_mask + 0.1 L_sep + 0.01 L_enh, released or corrected."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ovps_core.losses.attention_control import (
    attention_per_object,
    enhancement_loss,
    enhancement_loss_released,
    separation_loss,
    separation_loss_released,
)
from ovps_core.losses.labels import ObjectPartIndex, PartTargets
from ovps_core.losses.mask_supervision import at_least_float32, mask_supervision
from ovps_core.models.interface import PartLogits
from ovps_core.models.partclipseg.corrections import Corrections


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms.

    Attributes:
        object: weight of L_obj.
        part: weight of L_part.
        separation: weight of L_sep; 0 skips it.
        enhancement: weight of L_enh; 0 skips it.
        mask_threshold: minimum smoothed attention, scaled to 0..1, at which a part attends to a pixel.
    """

    object: float = 1.0
    part: float = 1.0
    separation: float = 0.1
    enhancement: float = 0.01
    mask_threshold: float = 0.3


@dataclass(frozen=True)
class Losses:
    """Scalars of one batch, each before its weight, and their weighted sum.

    Attributes:
        object_part_foreground: L_op_fg.
        object_part_background: L_op_bg.
        part: L_part.
        object: L_obj.
        separation: L_sep, 0 to 1.
        enhancement: L_enh, 0 to 1.
        total: the weighted sum.
    """

    object_part_foreground: Tensor
    object_part_background: Tensor
    part: Tensor
    object: Tensor
    separation: Tensor
    enhancement: Tensor
    total: Tensor


@dataclass(frozen=True)
class PartCLIPSegLoss:
    """L = L_op_fg + L_op_bg + w_o L_obj + w_p L_part + w_s L_sep + w_e L_enh.

    ``corrections`` selects the attention losses. With ``Corrections.released()`` every value is that of
    the released code. This includes a total of 0 for a batch without a background pixel, where the loss
    is NaN.
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
            logits: names [B, P + O + 1, h, w] (parts, objects, background) and object-parts
                [B, T + 1, h, w] (object-parts, background).
            attention: float [B, P + O + 1, heads, L, L], softmaxed self-attention of the last decoder
                block (rows are queries).
            targets: labels of any size; they are resized to the logits.
            index: rows of the names for every object-part.
            grid: (rows, columns) of the attention's tokens.
        """
        size = logits.names.shape[-2], logits.names.shape[-1]
        sized = targets.resized(size, shifted=not self.corrections.unshifted_labels)
        released = self.corrections == Corrections.released()
        masks = mask_supervision(
            logits.names,
            logits.object_parts,
            sized,
            index,
            empty_background_is_nan=released,
        )
        per_name = at_least_float32(attention).mean(dim=2)
        separation, enhancement = self._attention_control(per_name, sized, index, grid)
        weights = self.weights
        total = (
            masks.object_part_foreground
            + masks.object_part_background
            + weights.object * masks.object
            + weights.part * masks.part
            + weights.separation * separation
            + weights.enhancement * enhancement
        )
        return Losses(
            masks.object_part_foreground,
            masks.object_part_background,
            masks.part,
            masks.object,
            separation,
            enhancement,
            torch.nan_to_num(total) if released else total,
        )

    def _attention_control(
        self, attention: Tensor, targets: PartTargets, index: ObjectPartIndex, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """(L_sep, L_enh): means over (image, object); as released, divided by B once more."""
        corrections, weights = self.corrections, self.weights
        separation = enhancement = attention.new_zeros(())
        if weights.separation == 0 and weights.enhancement == 0:
            return separation, enhancement
        count = 0
        soft, over_part = corrections.differentiable_separation, corrections.enhancement_over_part
        shifted = not corrections.unshifted_labels
        for maps in attention_per_object(
            attention, targets, index, grid, drop_last=not soft, shifted=shifted
        ):
            count += 1
            separate = separation_loss if soft else separation_loss_released
            separation = separation + separate(maps, weights.mask_threshold)
            enhance = enhancement_loss if over_part else enhancement_loss_released
            enhancement = enhancement + enhance(maps)
        count = max(count, 1)
        images = attention.shape[0]
        return (
            separation / (count if soft else count * images),
            enhancement / (count if over_part else count * images),
        )
