"""Object instances from the predictions of an object model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ovps_core.models.objects import ObjectPredictions, ObjectQueries
from ovps_core.pipeline.canvas import Canvas


@dataclass(frozen=True)
class Instances:
    """Instances in one image, the highest score first.

    Attributes:
        labels: int64 [N], column of the name.
        scores: float [N], 0..1.
        boxes: float [N, 4], (x1, y1, x2, y2) in pixels of the image; they may reach beyond it.
        masks: bool [N, H, W]; None if they were not asked for.
    """

    labels: Tensor
    scores: Tensor
    boxes: Tensor
    masks: Tensor | None


def keep_best(found: ObjectQueries, *, max_instances: int, score_threshold: float) -> Tensor:
    """Rows int64 [n] of the queries that :func:`instances` reads with the same arguments, for one image."""
    best, queries, _ = _best_pairs(found.scores[0, : found.instances], max_instances)
    return queries[best >= score_threshold].unique()


def _best_pairs(scores: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Scores float [n], queries and labels int64 [n] of the best pairs of scores float [N, K]."""
    best, pairs = scores.flatten().topk(min(count, scores.numel()))
    return best, pairs // scores.shape[1], pairs % scores.shape[1]


def instances(
    predictions: ObjectPredictions,
    canvas: Canvas,
    *,
    index: int = 0,
    max_instances: int = 100,
    score_threshold: float = 0.0,
    num_things: int | None = None,
    with_masks: bool = True,
) -> Instances:
    """The (query, name) pairs with the highest scores.

    One query may answer several names, and nothing is suppressed.

    Args:
        predictions: of a batch.
        canvas: place of the image in the pixels.
        index: the image in the batch.
        max_instances: number of pairs that are taken before thresholds.
        score_threshold: lowest score of an instance.
        num_things: names from this column on are stuff and dropped; None for none.
        with_masks: decode masks, and multiply scores by the mean probability over the mask, as the release does;
            without them there are boxes only.
    """
    scores = predictions.scores[index, : predictions.instances]
    best, queries, labels = _best_pairs(scores, max_instances)
    keep = best >= score_threshold
    if num_things is not None:
        keep &= labels < num_things
    best, queries, labels = best[keep], queries[keep], labels[keep]
    boxes = canvas.boxes(predictions.boxes_cxcywh[index, queries])
    if not with_masks:
        return Instances(labels, best, boxes, None)
    masks, confidences = _masks(predictions.mask_logits[index], queries, canvas)
    best = best * confidences
    order = best.argsort(descending=True)
    order = order[best[order] >= score_threshold]
    return Instances(labels[order], best[order], boxes[order], masks[order])


def _masks(mask_logits: Tensor, queries: Tensor, canvas: Canvas) -> tuple[Tensor, Tensor]:
    """Masks bool [N, H, W] of queries, and the mean probability over each; one at a time, to save memory."""
    height, width = canvas.image
    unique, rows = queries.unique(return_inverse=True)
    masks = torch.zeros(len(unique), height, width, dtype=torch.bool, device=queries.device)
    means = torch.zeros(len(unique), device=queries.device)
    for row, query in enumerate(unique.tolist()):
        logits = canvas.masks(mask_logits[query : query + 1])[0].float()
        masks[row] = logits > 0
        means[row] = (logits.sigmoid() * masks[row]).sum() / (masks[row].sum() + 1e-6)
    return masks[rows], means[rows]
