"""Steps and scores that the trainings of all models with parts share."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from ovps_core.evaluation.metrics import harmonic_miou
from ovps_core.language.vocabulary import IGNORE, UNKNOWN, Vocabulary
from ovps_core.losses.labels import ObjectPartIndex, PartTargets
from ovps_core.models.interface import PartLogits
from ovps_core.models.network import PartModel
from training.optimiser import named_parameters
from training.recipe import StepOptimRecipe

Batch = tuple[Tensor, Tensor, Tensor]
"""Pixels float [B, 3, H, W], object-parts int64 [B, H, W], objects int64 [B, H, W]."""

_TOWERS = ("text.", "backbone.")


@dataclass(frozen=True)
class TotalLoss:
    """The loss of a family that has only one."""

    total: Tensor


class PartTraining(L.LightningModule):
    """Lightning module that logs its losses, and the mean IoU of (object, part) classes.

    Args:
        vocabulary: the names to train on; the labels of a batch are positions in it.
        val_vocabulary: names to score on, if they are others: those of training and unseen ones.

    Attributes:
        in_bar: losses that the progress bar shows.
        model: the network.
        index, val_index: rows of the names to train on, and of those to score on.
    """

    in_bar: tuple[str, ...] = ("total",)
    model: PartModel

    def __init__(self, vocabulary: Vocabulary, val_vocabulary: Vocabulary | None = None) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.val_vocabulary = val_vocabulary or vocabulary
        self.index = _object_part_index(self.vocabulary)
        self.val_index = _object_part_index(self.val_vocabulary)
        self._pixel_counts: dict[str, Tensor] = {}

    @abstractmethod
    def losses(self, batch: Batch, *, scoring: bool = False) -> tuple[Any, PartLogits]:
        """Every loss of one batch as a dataclass with ``total``, and the logits it was computed from.

        The last map of ``object_parts`` is the background.

        Args:
            batch: images and labels.
            scoring: the labels are of the names to score on, and not of those to train on.
        """

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the total loss, a scalar, and log every term."""
        losses, _ = self.losses(batch)
        for field in dataclasses.fields(losses):
            in_bar = field.name in self.in_bar
            value = getattr(losses, field.name).detach()
            self.log(f"loss/{field.name}", value, prog_bar=in_bar, batch_size=len(batch[0]))
        return losses.total

    def on_validation_epoch_start(self) -> None:
        """Set all pixel counts to zero."""
        count = len(self.val_vocabulary.object_parts)
        channels = {"argmax": count + 1, "masks": count}
        self._pixel_counts = {
            name: torch.zeros(3, n, dtype=torch.int64, device=self.device)
            for name, n in channels.items()
        }

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count intersections and areas, for the highest map per pixel and for each map separately."""
        losses, logits = self.losses(batch, scoring=True)
        self.log("score/loss", losses.total, batch_size=len(batch[0]))
        maps = logits.object_parts
        truth = PartTargets(batch[1], batch[2]).resized((maps.shape[-2], maps.shape[-1]))
        count = len(self.val_vocabulary.object_parts)
        # a pixel of an object without a part label is background here
        labels = torch.where(truth.object_parts == IGNORE, count, truth.object_parts)
        true_maps = _one_map_per_label(labels, count + 1)
        known = (labels != UNKNOWN)[:, None]
        argmax = _one_map_per_label(maps.argmax(dim=1), count + 1) & known
        self._pixel_counts["argmax"] += _count(argmax, true_maps)
        self._pixel_counts["masks"] += _count((maps[:, :-1] > 0) & known, true_maps[:, :-1])

    def on_validation_epoch_end(self) -> None:
        """Log the mean IoU over the parts in the images; ``part_miou`` has background as a class, too.

        With unseen names also over seen and unseen ones, and the harmonic mean of both.
        """
        names = {"argmax": "score/part_miou", "masks": "score/part_miou_of_masks"}
        for name, counts in self._pixel_counts.items():
            gathered = self.all_gather(counts)
            assert isinstance(gathered, Tensor)  # a tensor in, a tensor out
            both, predicted, true = gathered.reshape(-1, *counts.shape).sum(0)
            union = predicted + true - both
            is_part = torch.arange(len(both), device=both.device) < len(
                self.val_vocabulary.object_parts
            )
            present, iou = (true > 0) & is_part, both / union
            self.log(names[name], _mean(iou[present]), prog_bar=name == "argmax")
            if name == "argmax" and not self.val_vocabulary.is_seen.all():
                self._log_harmonic(iou, present)

    def _log_harmonic(self, iou: Tensor, present: Tensor) -> None:
        seen = torch.zeros_like(present)
        is_seen = torch.from_numpy(self.val_vocabulary.is_seen)
        seen[: len(is_seen)] = is_seen.to(seen.device)
        means = {"seen": _mean(iou[present & seen]), "unseen": _mean(iou[present & ~seen])}
        for name, value in means.items():
            self.log(f"score/{name}_miou", value)
        self.log(
            "score/harmonic_miou", harmonic_miou(*(float(v) for v in means.values())), prog_bar=True
        )


class TowerTraining(PartTraining):
    """Training of a network with an image tower and a text tower, which stay as they are unless told otherwise.

    Args:
        model: the network; parameters that are not trained are frozen here.
        text_encoder: its text encoder.
        vocabulary: see :class:`PartTraining`.
        optim: optimiser and schedule.
        criterion: the losses with their weights, of a family that has several.
        train_towers: also train the towers.
        val_vocabulary: see :class:`PartTraining`.

    Attributes:
        trained_in_towers: beginnings of names of parameters that are trained while their tower is frozen.
    """

    trained_in_towers: tuple[str, ...] = ()

    def __init__(
        self,
        model: PartModel,
        text_encoder: nn.Module,
        vocabulary: Vocabulary,
        optim: StepOptimRecipe,
        criterion: Callable[..., Any] | None = None,
        *,
        train_towers: bool = False,
        val_vocabulary: Vocabulary | None = None,
    ) -> None:
        super().__init__(vocabulary, val_vocabulary)
        self.model = model
        self.text_encoder: Any = text_encoder
        self.optim: Any = optim
        self.criterion: Any = criterion
        self.train_towers = train_towers
        trained = set(self.trainable_names(model, text_encoder))
        for name, parameter in named_parameters(model, text_encoder):
            parameter.requires_grad_(train_towers or name in trained)

    @classmethod
    def trainable_names(cls, model: PartModel, text_encoder: nn.Module) -> list[str]:
        """Names of the parameters that are trained while the towers are frozen."""
        return [
            name
            for name, _ in named_parameters(model, text_encoder)
            if not name.startswith(_TOWERS) or name.startswith(cls.trained_in_towers)
        ]


def _object_part_index(vocabulary: Vocabulary) -> ObjectPartIndex:
    """Rows of parts and objects among the names of a vocabulary, parts first."""
    num_parts = len(vocabulary.parts)
    part_rows = torch.from_numpy(vocabulary.part_index)
    return ObjectPartIndex(
        part_rows, num_parts + torch.from_numpy(vocabulary.object_index), num_parts
    )


def _mean(values: Tensor) -> Tensor:
    """Mean of float [N]; 0 without any."""
    return values.mean().float() if values.numel() else values.new_zeros((), dtype=torch.float32)


def _one_map_per_label(labels: Tensor, count: int) -> Tensor:
    """Labels int64 [B, h, w] -> bool [B, count, h, w]."""
    return labels[:, None] == torch.arange(count, device=labels.device)[:, None, None]


def _count(maps: Tensor, truth: Tensor) -> Tensor:
    """Pixels per channel of bool [B, K, h, w]: in both, in ``maps``, in ``truth``; int64 [3, K]."""
    return torch.stack([each.sum(dim=(0, 2, 3)) for each in (maps & truth, maps, truth)])
