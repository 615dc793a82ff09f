"""Objects of a training sample and of an answer as label maps, for the eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.matching import ObjectTargets
from ovps_core.models.interface import Preprocessing
from ovps_core.models.layers.boxes import corners
from ovps_core.models.objects import ObjectPredictions
from training.pictures import Answer, NamedBox, PreviewSample, unnormalised


def sample_of(
    pixels: Tensor, target: ObjectTargets, names: Sequence[str], preprocessing: Preprocessing
) -> PreviewSample:
    """Pixels float [3, S, S] with the mask, the box and the name of each object, each in a colour of its own."""
    rgb = unnormalised(pixels, preprocessing)
    numbers = list(range(len(target.labels)))
    labels = np.full(rgb.shape[:2], IGNORE, np.int64)
    if target.masks is not None:
        labels = _painted(target.masks.bool(), numbers)
    boxes = (corners(target.boxes_cxcywh) * len(rgb)).tolist()
    named = zip(target.labels.tolist(), numbers, boxes, strict=True)
    return PreviewSample(
        rgb,
        labels,
        tuple(NamedBox(names[label], number, tuple(box)) for label, number, box in named),
    )


def answer_of(
    pixels: Tensor,
    target: ObjectTargets,
    predictions: ObjectPredictions,
    preprocessing: Preprocessing,
) -> Answer:
    """The n objects of an image and the n best answers, a colour for each name.

    Args:
        pixels: float [3, S, S].
        target: the objects. Those without masks are painted as boxes.
        predictions: of a batch with this image alone.
        preprocessing: normalisation.
    """
    size = pixels.shape[-2], pixels.shape[-1]
    scores = predictions.scores[0]
    best = scores.flatten().topk(min(len(target.labels), scores.numel())).indices
    queries, labels = best // scores.shape[1], best % scores.shape[1]
    masks = torch.zeros(0, *size, dtype=torch.bool)
    if len(queries):
        logits = predictions.mask_logits[0, queries].float()
        masks = F.interpolate(logits[None], size=size, mode="bilinear")[0].cpu() > 0
    true = target.masks.bool() if target.masks is not None else _filled(target.boxes_cxcywh, size)
    return Answer(
        unnormalised(pixels, preprocessing),
        _painted(true, target.labels.tolist()),
        _painted(masks, labels.tolist()),
    )


def _painted(masks: Tensor, values: Sequence[int]) -> NDArray[np.int64]:
    """Label map int64 [H, W] of masks bool [n, H, W], smaller ones over larger ones."""
    painted = torch.full(masks.shape[1:], IGNORE)
    for row in masks.sum((1, 2)).argsort(descending=True).tolist():
        painted[masks[row]] = values[row]
    return np.asarray(painted.numpy())


def _filled(boxes_cxcywh: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes float [n, 4] in 0..1 as masks bool [n, H, W]."""
    left, top, right, bottom = corners(boxes_cxcywh).T[..., None]
    rows, columns = ((torch.arange(side) + 0.5) / side for side in size)
    inside_rows = (rows >= top) & (rows < bottom)
    return inside_rows[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
