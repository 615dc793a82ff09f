"""The training loss of OpenSeeD: every layer, the selection and the denoising queries against the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from ovps_core.losses.matching import (
    FOCAL_ALPHA,
    FOCAL_GAMMA,
    HungarianMatcher,
    Match,
    ObjectTargets,
    StuffSplit,
    TermWeights,
)
from ovps_core.losses.points import sample_points, uncertain_points
from ovps_core.models.layers.boxes import corners
from ovps_core.models.openseed.corrections import Corrections
from ovps_core.models.openseed.denoising import DenoisingQueries, Uniform
from ovps_core.models.openseed.heads import Predictions
from ovps_core.models.openseed.model import TrainingPredictions

_RELEASED_NUM_THINGS, _RELEASED_OBJECT_QUERIES = 80, 300


@dataclass(frozen=True)
class Terms:
    """Loss terms of one set of predictions, each before its weight. Mask terms are 0 without masks."""

    classes: Tensor
    boxes: Tensor
    giou: Tensor
    masks: Tensor
    dice: Tensor

    def weighted(self, weights: TermWeights) -> Tensor:
        """The weighted sum."""
        return (
            weights.classes * self.classes
            + weights.boxes * self.boxes
            + weights.giou * self.giou
            + weights.masks * self.masks
            + weights.dice * self.dice
        )


@dataclass(frozen=True)
class OpenSeeDLosses:
    """Losses of one batch.

    Attributes:
        total: weighted sum of all terms.
        layers: terms of the decoder's input queries and of each layer; the last is the answer's.
        intermediate: terms of the selected queries.
        denoising: terms of the denoising queries, as ``layers``; empty without them.
        matches: matched pairs per layer and image, and last those of the selected queries.
    """

    total: Tensor
    layers: tuple[Terms, ...]
    intermediate: Terms
    denoising: tuple[Terms, ...]
    matches: tuple[list[Match], ...]


@dataclass(frozen=True)
class OpenSeeDLoss:
    """Sum over all sets of predictions of class, box, IoU, mask and Dice terms.

    Attributes:
        weights: of the terms.
        num_points: points at which masks are compared.
        corrections: differences from the released training.
    """

    weights: TermWeights = TermWeights()
    num_points: int = 12544
    corrections: Corrections = Corrections()

    def __call__(
        self,
        predictions: TrainingPredictions,
        targets: Sequence[ObjectTargets],
        *,
        num_things: int,
        denoising: DenoisingQueries | None = None,
        uniform: Uniform = torch.rand,
    ) -> OpenSeeDLosses:
        """Losses of a batch.

        Without masks in the targets it is a detection step: queries for stuff take no part, and no mask is
        compared.

        Args:
            predictions: of :meth:`ovps_core.models.openseed.model.OpenSeeD.predict_layers`.
            targets: one entry per image.
            num_things: names before this row are things, the others stuff.
            denoising: the denoising queries that the predictions were made with.
            uniform: source of random numbers.
        """
        with_masks = all(target.masks is not None for target in targets)
        split = self._split(predictions, num_things) if with_masks else None
        matcher = HungarianMatcher(self.weights, self.num_points)
        norm = _objects_per_process(targets)
        layers, selected = predictions.layers, predictions.intermediate
        if not with_masks:
            layers = tuple(layer.rows(0, predictions.object_queries) for layer in layers)
            if self.corrections.selected_objects_by_boxes:
                selected = selected.rows(0, predictions.object_queries)
        matches: dict[int, list[Match]] = {}
        terms: dict[int, Terms] = {}
        denoised: dict[int, Terms] = {}
        # The last layer first: the order of the random numbers is that of the release.
        for index in (len(layers) - 1, *range(len(layers) - 1)):
            matches[index] = matcher(layers[index], targets, split, uniform)
            terms[index] = self.matched_terms(layers[index], targets, matches[index], norm, uniform)
            if denoising is not None:
                denoised[index] = self._denoising_terms(
                    predictions.denoising[index], targets, denoising, norm, uniform
                )
        last_match = matcher(selected, targets, split, uniform)
        intermediate = self.matched_terms(selected, targets, last_match, norm, uniform)
        in_order = tuple(terms[index] for index in range(len(layers)))
        denoised_in_order = tuple(denoised[index] for index in sorted(denoised))
        sets = (*in_order, intermediate, *denoised_in_order)
        return OpenSeeDLosses(
            torch.stack([each.weighted(self.weights) for each in sets]).sum(),
            in_order,
            intermediate,
            denoised_in_order,
            (*(matches[index] for index in range(len(layers))), last_match),
        )

    def _split(self, predictions: TrainingPredictions, num_things: int) -> StuffSplit | None:
        if not self.corrections.stuff_by_vocabulary:
            return StuffSplit(_RELEASED_NUM_THINGS, _RELEASED_OBJECT_QUERIES)
        object_queries = predictions.object_queries
        if predictions.intermediate.class_logits.shape[1] == object_queries:
            return None
        return StuffSplit(num_things, object_queries)

    def matched_terms(
        self,
        predictions: Predictions,
        targets: Sequence[ObjectTargets],
        matches: Sequence[Match],
        norm: float,
        uniform: Uniform = torch.rand,
    ) -> Terms:
        """Terms of one set of predictions with known matches; ``norm`` divides every term."""
        logits = predictions.class_logits.float()
        truth = torch.zeros_like(logits)
        for image, (target, match) in enumerate(zip(targets, matches, strict=True)):
            truth[image, match.queries, target.labels[match.objects]] = 1.0
        classes = sigmoid_focal_loss(logits, truth, FOCAL_ALPHA, FOCAL_GAMMA, "sum") / norm
        return self._geometry(classes, predictions, targets, matches, norm, uniform)

    def _denoising_terms(
        self,
        predictions: Predictions,
        targets: Sequence[ObjectTargets],
        denoising: DenoisingQueries,
        norm: float,
        uniform: Uniform,
    ) -> Terms:
        """Terms of denoising queries, which know their objects without matching."""
        matches = []
        for target in targets:
            objects = torch.arange(len(target.labels), device=target.labels.device)
            starts = torch.arange(denoising.groups, device=objects.device) * denoising.group_size
            slots = (starts[:, None] + objects).flatten()
            matches.append(Match(slots, objects.repeat(denoising.groups)))
        norm = norm * denoising.groups
        used = denoising.labels >= 0
        logits = predictions.class_logits[used].float()
        truth = F.one_hot(denoising.labels[used], logits.shape[1]).to(logits)
        classes = sigmoid_focal_loss(logits, truth, FOCAL_ALPHA, FOCAL_GAMMA, "sum") / norm
        if not self.corrections.vocabulary_independent_denoising:
            classes = classes * denoising.labels.shape[1] / logits.shape[1]
        return self._geometry(classes, predictions, targets, matches, norm, uniform)

    def _geometry(
        self,
        classes: Tensor,
        predictions: Predictions,
        targets: Sequence[ObjectTargets],
        matches: Sequence[Match],
        norm: float,
        uniform: Uniform,
    ) -> Terms:
        """The box and mask terms of matched pairs, beside the class term."""
        pairs = list(zip(targets, matches, strict=True))
        boxes = _gather(predictions.boxes_cxcywh, matches).float()
        truth = torch.cat([target.boxes_cxcywh[match.objects] for target, match in pairs]).float()
        distance = (boxes - truth).abs().sum() / norm
        giou = generalized_box_iou_loss(corners(boxes), corners(truth), "sum") / norm
        masks = dice = classes.new_zeros(())
        if predictions.mask_logits is not None and all(t.masks is not None for t in targets):
            logits = _gather(predictions.mask_logits, matches).float()
            wanted = torch.cat([t.masks[m.objects] for t, m in pairs if t.masks is not None])
            points = uncertain_points(logits, self.num_points, uniform)
            with torch.no_grad():
                labels = sample_points(wanted.to(logits), points)
            found = sample_points(logits, points)
            masks = F.binary_cross_entropy_with_logits(found, labels, reduction="none")
            masks = masks.mean(1).sum() / norm
            dice = _dice(found.sigmoid(), labels).sum() / norm
        return Terms(classes, distance, giou, masks, dice)


def _dice(probabilities: Tensor, labels: Tensor) -> Tensor:
    """1 - smoothed Dice of each row, float [N]."""
    overlap = 2 * (probabilities * labels).sum(-1)
    return 1 - (overlap + 1) / (probabilities.sum(-1) + labels.sum(-1) + 1)


def _gather(values: Tensor, matches: Sequence[Match]) -> Tensor:
    """Rows of the matched queries of all images, [n, ...]."""
    return torch.cat([image[match.queries] for image, match in zip(values, matches, strict=True)])


def _objects_per_process(targets: Sequence[ObjectTargets]) -> float:
    """Number of objects in the batch, averaged over processes, at least 1."""
    count = torch.tensor(float(sum(len(target.labels) for target in targets)))
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        count = count.to(targets[0].labels.device)
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return max(count.item(), 1.0)
