"""Panoptic and semantic maps from the predictions of an object model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ovps_core.models.objects import ObjectPredictions, ObjectQueries
from ovps_core.pipeline.canvas import Canvas
from ovps_core.pipeline.postprocess.panoptic_options import PanopticOptions

_TEMPERATURE = 0.06  # sharpens scores of names against each other, as released
_CHUNK = 16  # queries whose masks are at full size at one time


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map.

    Attributes:
        id: its value in the map, from 1.
        label: column of the name.
        score: score of the name, 0..1.
        is_thing: an object instance; False for a region of stuff, of which there is one per name.
    """

    id: int
    label: int
    score: float
    is_thing: bool


def keep_scored(found: ObjectQueries, *, score_threshold: float) -> Tensor:
    """Rows int64 [n] of the queries that :func:`panoptic_map` reads, for one image."""
    return (found.scores[0].amax(-1) > score_threshold).nonzero()[:, 0]


def keep_all(found: ObjectQueries) -> Tensor:
    """Rows int64 [N] of all queries, which :func:`semantic_scores` reads."""
    return torch.arange(found.scores.shape[1], device=found.scores.device)


def panoptic_map(
    predictions: ObjectPredictions,
    canvas: Canvas,
    num_things: int,
    *,
    index: int = 0,
    options: PanopticOptions,
) -> tuple[Tensor, list[Segment]]:
    """Segments that do not overlap: each pixel belongs to the query with the highest score times probability.

    Args:
        predictions: of a batch.
        canvas: place of the image in the pixels.
        num_things: names before this column are things, the others stuff.
        index: the image in the batch.
        options: thresholds.

    Returns:
        Ids int32 [H, W], 0 = no segment, and the segments in the order of their ids.
    """
    scores = predictions.scores[index]
    kept = (scores.amax(-1) > options.score_threshold).nonzero()[:, 0]
    ids = torch.zeros(canvas.image, dtype=torch.int32, device=scores.device)
    if not len(kept):
        return ids, []
    sharpened, labels = _sharpened(scores[kept]).max(-1)
    masks = torch.cat(
        [
            canvas.masks(chunk).sigmoid()
            for chunk in predictions.mask_logits[index, kept].split(_CHUNK)
        ]
    )
    winner = (sharpened[:, None, None] * masks).argmax(0)
    segments: list[Segment] = []
    stuff_ids: dict[int, int] = {}
    for row, (query, label) in enumerate(zip(kept.tolist(), labels.tolist(), strict=True)):
        own = masks[row] >= options.mask_threshold
        won = winner == row
        visible = own & won
        own_area = int(own.sum())
        if not visible.any() or int(won.sum()) / own_area < options.overlap_threshold:
            continue
        if label in stuff_ids:
            ids[visible] = stuff_ids[label]
            continue
        segment = Segment(len(segments) + 1, label, float(scores[query, label]), label < num_things)
        if not segment.is_thing:
            stuff_ids[label] = segment.id
        ids[visible] = segment.id
        segments.append(segment)
    return ids, segments


def semantic_scores(predictions: ObjectPredictions, canvas: Canvas, *, index: int = 0) -> Tensor:
    """Score of each name and pixel, float [K, H, W]: the sum over queries of score times mask probability.

    The names compete for each query, so with one name alone every query belongs to it.
    """
    shares = _sharpened(predictions.scores[index])
    total = shares.new_zeros(shares.shape[1], *canvas.image)
    masks = predictions.mask_logits[index]
    for share, chunk in zip(shares.split(_CHUNK), masks.split(_CHUNK), strict=True):
        total += torch.einsum("qk,qhw->khw", share, canvas.masks(chunk).sigmoid())
    return total


def _sharpened(scores: Tensor) -> Tensor:
    return (scores / _TEMPERATURE).softmax(-1)
