"""Matching of queries to objects with the lowest total cost (DETR, Carion et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import generalized_box_iou

from ovps_core.losses.points import sample_points
from ovps_core.models.layers.boxes import corners
from ovps_core.models.openseed.denoising import Uniform
from ovps_core.models.openseed.heads import Predictions

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
_EPS = 1e-6
_FORBIDDEN = 1e4  # cost of a thing for a stuff query, and the reverse


@dataclass(frozen=True)
class ObjectTargets:
    """Ground truth of one image.

    Attributes:
        labels: int64 [n], row of the names.
        boxes_cxcywh: float [n, 4], (cx, cy, w, h) in 0..1.
        masks: float or bool [n, H, W] of the padded pixels; None if the data set has boxes only.
        assisting_masks: float or bool [n, h, w] that a model decoded from the boxes; they count in the matching
            where there are no ``masks``, and in no loss.
    """

    labels: Tensor
    boxes_cxcywh: Tensor
    masks: Tensor | None = None
    assisting_masks: Tensor | None = None


@dataclass(frozen=True)
class TermWeights:
    """Weights of the terms, in the matching cost and in the loss.

    Attributes:
        classes: similarity to the names.
        boxes: L1 distance of (cx, cy, w, h).
        giou: generalised IoU of the boxes.
        masks: binary cross-entropy at points.
        dice: Dice loss at points.
    """

    classes: float = 4.0
    boxes: float = 5.0
    giou: float = 2.0
    masks: float = 5.0
    dice: float = 5.0


@dataclass(frozen=True)
class StuffSplit:
    """Division of work between object queries and stuff queries.

    Attributes:
        num_things: names before this row are things, the others stuff.
        object_queries: queries before this row match things only, the others stuff only.
    """

    num_things: int
    object_queries: int


@dataclass(frozen=True)
class Match:
    """Matched pairs of one image.

    Attributes:
        queries: int64 [n].
        objects: int64 [n], row of the targets.
    """

    queries: Tensor
    objects: Tensor


@dataclass(frozen=True)
class HungarianMatcher:
    """Matcher of predictions with targets.

    Attributes:
        weights: of the terms of the cost.
        num_points: points at which masks are compared.
    """

    weights: TermWeights = TermWeights()
    num_points: int = 12544

    @torch.no_grad()
    def __call__(
        self,
        predictions: Predictions,
        targets: Sequence[ObjectTargets],
        split: StuffSplit | None = None,
        uniform: Uniform = torch.rand,
    ) -> list[Match]:
        """Match each image of a batch.

        Masks, or else assisting masks, count if both the predictions and the targets have them.

        Args:
            predictions: of N queries.
            targets: one entry per image.
            split: queries for things and for stuff; None if any query may match any object.
            uniform: source of random numbers.
        """
        matches = []
        for index, target in enumerate(targets):
            cost = self._cost(predictions, index, target, uniform)
            if split is not None:
                thing = target.labels < split.num_things
                for_things = torch.arange(len(cost), device=cost.device) < split.object_queries
                cost[for_things[:, None] != thing] = _FORBIDDEN
            rows, columns = linear_sum_assignment(cost.nan_to_num(_FORBIDDEN).cpu().numpy())
            device = target.labels.device
            matches.append(
                Match(torch.as_tensor(rows, device=device), torch.as_tensor(columns, device=device))
            )
        return matches

    def _cost(
        self, predictions: Predictions, index: int, target: ObjectTargets, uniform: Uniform
    ) -> Tensor:
        """Cost of each query for each object, float [N, n]."""
        weights, boxes = self.weights, predictions.boxes_cxcywh[index].float()
        truth = target.boxes_cxcywh.float()
        probability = predictions.class_logits[index].float().sigmoid()
        hit = FOCAL_ALPHA * (1 - probability) ** FOCAL_GAMMA * -(probability + _EPS).log()
        miss = (1 - FOCAL_ALPHA) * probability**FOCAL_GAMMA * -(1 - probability + _EPS).log()
        cost = weights.classes * (hit - miss)[:, target.labels]
        cost = cost + weights.boxes * torch.cdist(boxes, truth, p=1)
        cost = cost - weights.giou * generalized_box_iou(corners(boxes), corners(truth))
        masks = target.masks if target.masks is not None else target.assisting_masks
        if masks is None or predictions.mask_logits is None:
            return cost
        logits = predictions.mask_logits[index].float()
        points = uniform((1, self.num_points, 2)).to(logits)
        found = sample_points(logits, points.expand(len(logits), -1, -1))
        wanted = sample_points(masks.to(logits), points.expand(len(truth), -1, -1))
        cross_entropy = F.softplus(-found) @ wanted.T + F.softplus(found) @ (1 - wanted).T
        share = found.sigmoid()
        total = share.sum(-1)[:, None] + wanted.sum(-1)
        dice = 1 - (2 * share @ wanted.T + 1) / (total + 1)
        return cost + weights.masks * cross_entropy / self.num_points + weights.dice * dice
