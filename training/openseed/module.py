"""Lightning module of OpenSeeD: the paper's losses, optimiser, schedule, and a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torchvision.ops import box_iou

from ovps_core.language.object_names import ObjectNames
from ovps_core.losses.matching import ObjectTargets
from ovps_core.losses.openseed import OpenSeeDLoss, OpenSeeDLosses, Terms
from ovps_core.models.layers.boxes import corners
from ovps_core.models.objects import ObjectPredictions
from ovps_core.models.openseed.denoising import denoising_queries
from ovps_core.models.openseed.model import OpenSeeD
from ovps_core.models.openseed.text import NameEncoder
from training.openseed.data import Batch
from training.openseed.mask_assistance import with_assisting_masks
from training.openseed.prompts import random_prompts
from training.openseed.recipe import LossRecipe, OptimRecipe
from training.optimiser import adamw_groups, named_parameters, scheduled, undecayed

_FOUND = 0.5  # lowest IoU of an object that counts as found
_TOWERS = ("backbone.", "text.")
_TABLES = ("positional_embedding", "position_bias_table", "stuff_contents", "stuff_anchors")


class OpenSeeDTraining(L.LightningModule):
    """One batch of each data file through the network, losses summed.

    Args:
        model: the network.
        text_encoder: its text encoder, trained with it.
        vocabularies: names of each data file.
        scored: names of the file to score on; None for no scores.
        optim: optimiser and schedule.
        losses: the loss.
    """

    def __init__(
        self,
        model: OpenSeeD,
        text_encoder: NameEncoder,
        vocabularies: Sequence[ObjectNames],
        scored: ObjectNames | None,
        optim: OptimRecipe,
        losses: LossRecipe,
    ) -> None:
        super().__init__()
        self.model = model
        self.text_encoder = text_encoder
        self.vocabularies = tuple(vocabularies)
        self.scored = scored
        self.optim = optim
        self.denoising = losses.denoising
        self.mask_assistance = losses.mask_assistance
        self.criterion = OpenSeeDLoss(losses.weights, losses.num_points, model.config.corrections)
        self._found = [0, 0]
        self._scored_names = torch.zeros(0, model.config.text_dim)

    def losses(self, batch: Batch, vocabulary: ObjectNames) -> OpenSeeDLosses:
        """Losses of a batch of one data file, with a random prompt for each name."""
        pixels, targets = batch
        names = self.text_encoder.encode_prompts(random_prompts(vocabulary.all))
        denoising = None
        if self.denoising:
            denoising = denoising_queries(
                [target.labels for target in targets],
                [target.boxes_cxcywh for target in targets],
                of_many_objects=self.model.config.corrections.denoising_of_many_objects,
            )
        features = self.model.encode(pixels)
        if self.mask_assistance:
            targets = with_assisting_masks(self.model, features, names, targets)
        predictions = self.model.predict_layers(features, names, denoising)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.criterion(
                predictions,
                targets,
                num_things=len(vocabulary.things),
                denoising=denoising,
            )

    def training_step(self, batch: Sequence[Batch], batch_idx: int) -> Tensor:
        """Return the sum of the total losses of all data files, and log the terms of the last layer."""
        totals, terms = [], []
        for each, vocabulary in zip(batch, self.vocabularies, strict=True):
            losses = self.losses(each, vocabulary)
            totals.append(losses.total)
            terms.append(losses.layers[-1])
        total = torch.stack(totals).sum()
        self.log("loss/total", total.detach(), prog_bar=True, batch_size=self.optim.batch)
        for field in fields(Terms):
            value = torch.stack([getattr(each, field.name) for each in terms]).sum()
            self.log(f"loss/{field.name}", value.detach(), batch_size=self.optim.batch)
        return total

    @torch.no_grad()
    def on_validation_epoch_start(self) -> None:
        """Embed the names as inference does, and set the counts to zero."""
        self._found = [0, 0]
        if self.scored is not None:
            self._scored_names = self.text_encoder.encode(self.scored.all)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the objects that are found, see :func:`objects_found`."""
        pixels, targets = batch
        predictions = self.model.detect(self.model.encode(pixels), self._scored_names)
        for index, target in enumerate(targets):
            found = objects_found(predictions, index, target, (pixels.shape[-2], pixels.shape[-1]))
            self._found[0] += int(found.sum())
            self._found[1] += len(found)

    def on_validation_epoch_end(self) -> None:
        """Log the share of the objects that are found."""
        counts = torch.tensor(self._found, device=self.device)
        gathered = self.all_gather(counts)
        assert isinstance(gathered, Tensor)
        found, total = gathered.reshape(-1, 2).sum(0).tolist()
        self.log("score/found", found / max(total, 1), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with the paper's groups; a linear warm-up, then two steps down."""
        optim = self.optim
        ends = [share * optim.steps for share in optim.milestones]
        optimizer = torch.optim.AdamW(self.parameter_groups())
        return scheduled(
            optimizer, optim.warmup, lambda step: 0.1 ** sum(step >= end for end in ends)
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Towers learn more slowly; norms, embeddings and position tables do not decay."""
        optim = self.optim
        exempt = undecayed(self)
        return adamw_groups(
            named_parameters(self.model, self.text_encoder),
            optim.weight_decay,
            lr=lambda name: optim.lr * (optim.tower_lr_factor if name.startswith(_TOWERS) else 1),
            is_undecayed=lambda name, p: id(p) in exempt or name.endswith(_TABLES),
        )


def objects_found(
    predictions: ObjectPredictions, index: int, target: ObjectTargets, size: tuple[int, int]
) -> Tensor:
    """Mark the objects of an image that are among its n best answers, with their name and an IoU of 0.5, bool [n].

    No score is asked for: those of a network that has just begun to learn are low. The IoU is that of masks, or of
    boxes where the data have no masks.

    Args:
        predictions: of a batch.
        index: the image in the batch.
        target: its objects.
        size: of the pixels.
    """
    found = torch.zeros(len(target.labels), dtype=torch.bool)
    scores = predictions.scores[index]
    best = scores.flatten().topk(min(len(found), scores.numel())).indices
    for row, label in enumerate(target.labels.tolist()):
        queries = best[best % scores.shape[1] == label] // scores.shape[1]
        if not len(queries):
            continue
        if target.masks is None:
            boxes = corners(predictions.boxes_cxcywh[index, queries])
            iou = box_iou(boxes, corners(target.boxes_cxcywh[row : row + 1]))[:, 0]
        else:
            logits = predictions.mask_logits[index, queries]
            masks = F.interpolate(logits[None], size=size, mode="bilinear")[0] > 0
            truth = target.masks[row].bool()
            both, either = (masks & truth).sum((1, 2)), (masks | truth).sum((1, 2))
            iou = both / either.clamp(min=1)
        found[row] = bool((iou >= _FOUND).any())
    return found
