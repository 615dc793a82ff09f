"""The mask losses of PartCLIPSeg (L_mask): object, part and object-part maps against label maps.

All are weighted means of the binary cross-entropy over pixels and channels. The background channel
has the weight 0.05. Two sets of a batch's pixels matter: F, the pixels with an object-part label, and
B, the pixels without a known object. A pixel of an object without a part label is in neither set. Pixels of
``UNKNOWN`` content are left out of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovps_core.language.vocabulary import IGNORE, UNKNOWN
from ovps_core.losses.labels import ObjectPartIndex, PartTargets

BACKGROUND_WEIGHT = 0.05


@dataclass(frozen=True)
class MaskLosses:
    """Scalars of at least 0, each before its weight.

    Attributes:
        object_part_foreground: L_op_fg, object-parts and background over F; 0 where F is empty.
        object_part_background: L_op_bg, object-parts and background over B.
        part: L_part, parts over F; 0 where F is empty.
        object: L_obj, objects and background over every pixel.
    """

    object_part_foreground: Tensor
    object_part_background: Tensor
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
        empty_background_is_nan: as released, L_op_bg is NaN when objects cover every pixel of the
            batch; otherwise it is 0 then.
    """
    names = at_least_float32(name_logits).permute(0, 2, 3, 1)
    object_parts = at_least_float32(object_part_logits).permute(0, 2, 3, 1)
    num_parts = index.num_parts
    no_object = targets.objects == IGNORE
    on_part = targets.object_parts >= 0
    zero = names.new_zeros(())

    foreground = part = background = zero
    if bool(on_part.any()):
        labels = targets.object_parts[on_part]
        truth = _one_hot(labels, object_parts.shape[-1], object_parts)
        truth[:, -1] = no_object[on_part].to(truth.dtype)
        foreground = _weighted_bce(object_parts[on_part], truth, background=True)
        part_truth = _one_hot(index.part[labels], num_parts, names)
        part = _weighted_bce(names[..., :num_parts][on_part], part_truth, background=False)
    # as released: a batch without any object adds no background term for object-parts
    of_background = no_object & (targets.object_parts != UNKNOWN)
    if bool((targets.objects >= 0).any()) and (
        bool(of_background.any()) or empty_background_is_nan
    ):
        logits = object_parts[of_background]
        truth = torch.zeros_like(logits)
        labels = targets.object_parts[of_background]
        rows = (labels != IGNORE).nonzero()[:, 0]
        truth[rows, labels[rows]] = 1.0
        truth[:, -1] = 1.0
        background = _weighted_bce(logits, truth, background=True)

    num_objects = names.shape[-1] - num_parts - 1
    object_rows = torch.where(no_object, num_objects, targets.objects)
    of_object = every_pixel_loss(name_logits[:, num_parts:], object_rows)
    return MaskLosses(foreground, background, part, of_object)


def every_pixel_loss(logits: Tensor, rows: Tensor) -> Tensor:
    """Weighted binary cross-entropy over all pixels and channels; 0 if all pixels are unknown.

    Args:
        logits: float [B, K + 1, h, w], the background last.
        rows: int64 [B, h, w], the right channel of each pixel; ``UNKNOWN`` ones do not count.
    """
    channels_last = at_least_float32(logits).permute(0, 2, 3, 1)
    known = rows != UNKNOWN
    if not bool(known.all()):
        channels_last, rows = channels_last[known], rows[known]
        if not len(rows):
            return channels_last.sum()
    truth = _one_hot(rows, channels_last.shape[-1], channels_last)
    return _weighted_bce(channels_last, truth, background=True)


def at_least_float32(values: Tensor) -> Tensor:
    """Cast 16-bit values to float32: a loss sums over millions of pixels."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _one_hot(rows: Tensor, channels: int, like: Tensor) -> Tensor:
    return F.one_hot(rows, channels).to(like.dtype)


def _weighted_bce(logits: Tensor, truth: Tensor, *, background: bool) -> Tensor:
    weight = logits.new_ones(logits.shape[-1])
    if background:
        weight[-1] = BACKGROUND_WEIGHT
    return F.binary_cross_entropy_with_logits(logits, truth, weight=weight)
