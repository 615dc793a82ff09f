"""The mask losses of PartCLIPSeg (L_mask): object, part and object-part maps against label maps.

All are weighted means of the binary cross-entropy over pixels and channels. The background channel
weighs 0.05. Two sets of pixels of a batch matter: F, the pixels with an object-part label, and B,
the pixels whose object is unknown. A pixel inside an object but on none of its parts is in neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.labels import ObjectPartIndex, PartTargets

BACKGROUND_WEIGHT = 0.05


@dataclass(frozen=True)
class MaskLosses:
    """Scalars, each before its weight.

    Attributes:
        pair_foreground: L_op_fg, pairs and background over F; 0 where F is empty.
        pair_background: L_op_bg, pairs and background over B.
        part: L_part, parts over F; 0 where F is empty.
        object: L_obj, objects and background over every pixel.
    """

    pair_foreground: Tensor
    pair_background: Tensor
    part: Tensor
    object: Tensor


def mask_supervision(
    name_logits: Tensor,
    object_part_logits: Tensor,
    targets: PartTargets,
    index: ObjectPartIndex,
    *,
    empty_background_is_nan: bool = False,
) -> MaskLosses:
    """The four mask losses of one batch.

    Args:
        name_logits: float [B, P + O + 1, h, w]: parts, objects, background.
        object_part_logits: float [B, T + 1, h, w]: object-parts, background.
        targets: labels of the same size as the logits.
        index: the part of every object-part.
        empty_background_is_nan: as released, the background term is NaN when objects cover every
            pixel of the batch; else it is 0 then.
    """
    names = at_least_float32(name_logits).permute(0, 2, 3, 1)
    pairs = at_least_float32(object_part_logits).permute(0, 2, 3, 1)
    num_parts = index.num_parts
    no_object = targets.objects == IGNORE
    on_part = targets.pairs != IGNORE
    zero = names.new_zeros(())

    foreground = part = background = zero
    if bool(on_part.any()):
        shown = targets.pairs[on_part]
        pair_truth = _one_hot(shown, pairs.shape[-1], pairs)
        pair_truth[:, -1] = no_object[on_part].to(pair_truth.dtype)
        foreground = _weighted_bce(pairs[on_part], pair_truth, background=True)
        part_truth = _one_hot(index.part[shown], num_parts, names)
        part = _weighted_bce(names[..., :num_parts][on_part], part_truth, background=False)
    # as released: a batch without any object teaches the pairs nothing
    if not bool(no_object.all()) and (bool(no_object.any()) or empty_background_is_nan):
        logits = pairs[no_object]
        truth = torch.zeros_like(logits)
        shown = targets.pairs[no_object]
        rows = (shown != IGNORE).nonzero()[:, 0]
        truth[rows, shown[rows]] = 1.0
        truth[:, -1] = 1.0
        background = _weighted_bce(logits, truth, background=True)

    rows_of_objects = torch.where(no_object, names.shape[-1] - num_parts - 1, targets.objects)
    object_truth = _one_hot(rows_of_objects, names.shape[-1] - num_parts, names)
    whole = _weighted_bce(names[..., num_parts:], object_truth, background=True)
    return MaskLosses(foreground, background, part, whole)


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision is for the network; a loss is a sum over millions of pixels."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _one_hot(rows: Tensor, channels: int, like: Tensor) -> Tensor:
    return functional.one_hot(rows, channels).to(like.dtype)


def _weighted_bce(logits: Tensor, truth: Tensor, *, background: bool) -> Tensor:
    weight = logits.new_ones(logits.shape[-1])
    if background:
        weight[-1] = BACKGROUND_WEIGHT
    return functional.binary_cross_entropy_with_logits(logits, truth, weight=weight)
