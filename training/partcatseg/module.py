"""Lightning modules of PartCATSeg and CAT-Seg: losses, optimiser and schedule of the paper."""

from __future__ import annotations

import functools
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from ovps_core.language.vocabulary import Vocabulary
from ovps_core.losses.labels import PartTargets
from ovps_core.losses.partcatseg import Losses, catseg_loss
from ovps_core.models.catseg.model import CATSeg
from ovps_core.models.catseg.text import possessive
from ovps_core.models.interface import PartLogits
from ovps_core.models.partcatseg.model import PartCATSeg
from training.optimiser import adamw_groups, half_cosine, named_parameters, scheduled, undecayed
from training.part_training import Batch, TotalLoss, TowerTraining


class CATSegTraining(TowerTraining):
    """Names and image through the network, losses on its maps.

    Frozen texts are encoded once; a text tower that is trained encodes them in each step.
    """

    model: CATSeg

    @functools.cached_property
    def _banks(self) -> dict[str, Tensor]:
        """Text banks that frozen towers have encoded, by text."""
        return {}

    def banks(self, texts: list[str]) -> Tensor:
        """Text banks float [N, M * D] of N names."""
        if self.train_towers:
            return self.text_encoder.encode(texts)
        missing = [text for text in texts if text not in self._banks]
        if missing:
            with torch.no_grad():
                banks = self.text_encoder.encode(missing)
            self._banks.update(zip(missing, banks, strict=True))
        return torch.stack([self._banks[text] for text in texts]).to(self.device)

    def names(self, *, scoring: bool) -> Vocabulary:
        """The vocabulary to score on, or that to train on."""
        return self.val_vocabulary if scoring else self.vocabulary

    def losses(self, batch: Batch, *, scoring: bool = False) -> tuple[Any, PartLogits]:
        """See :meth:`PartTraining.losses`."""
        pixels, object_parts, objects = batch
        conditions = self.model.conditions(self.banks(_phrases(self.names(scoring=scoring))))
        logits = self.model.decode(self.model.encode(pixels), conditions)
        with torch.autocast(pixels.device.type, enabled=False):  # sums over maps need precision
            total = catseg_loss(logits, PartTargets(object_parts, objects))
        return TotalLoss(total), PartLogits(logits.names[:, :0], logits.names)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with the paper's groups; a linear warm-up, then half a cosine."""
        optim = self.optim
        optimizer = torch.optim.AdamW(self.parameter_groups())
        return scheduled(optimizer, optim.warmup, lambda step: half_cosine(step / optim.steps))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups of AdamW: the guidance model learns slowly, normalisations do not decay."""
        optim = self.optim
        exempt = undecayed(self)
        return adamw_groups(
            named_parameters(self.model, self.text_encoder),
            optim.weight_decay,
            lr=lambda name: (
                optim.lr * (optim.guidance_lr_factor if name.startswith("guidance.") else 1)
            ),
            is_undecayed=lambda _, p: id(p) in exempt,
        )


class PartCATSegTraining(CATSegTraining):
    """:class:`CATSegTraining` for both branches.

    Its criterion is a :class:`ovps_core.losses.partcatseg.PartCATSegLoss`.
    """

    model: PartCATSeg
    in_bar = ("total", "composition")

    def losses(self, batch: Batch, *, scoring: bool = False) -> tuple[Losses, PartLogits]:
        """See :meth:`PartTraining.losses`."""
        pixels, object_parts, objects = batch
        names = self.names(scoring=scoring)
        index = (self.val_index if scoring else self.index).to(pixels.device)
        conditions = self.model.object_part_conditions(
            self.banks([*names.parts, *names.objects_with_parts]),
            self.banks(_phrases(names)),
            index.part,
            index.object,
            num_parts=index.num_parts,
        )
        outputs = self.model.decode_with_costs(self.model.encode(pixels), conditions)
        with torch.autocast(pixels.device.type, enabled=False):  # sums over maps need precision
            losses = self.criterion(outputs, PartTargets(object_parts, objects), index)
        return losses, outputs.logits


def _phrases(vocabulary: Vocabulary) -> list[str]:
    """Phrases of the (object, part) classes."""
    return [possessive(*pair) for pair in vocabulary.object_parts]
