"""Lightning module of PartCLIPSeg: the paper's losses; optimiser and schedule are those of CLIPSeg."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovps_core.language.vocabulary import Vocabulary
from ovps_core.losses.labels import PartTargets
from ovps_core.losses.partclipseg import Losses, LossWeights, PartCLIPSegLoss
from ovps_core.models.interface import PartLogits
from ovps_core.models.partclipseg.model import PartCLIPSeg
from ovps_core.models.text.tower import TextEncoder
from training.clipseg.module import CLIPSegTraining
from training.clipseg.recipe import OptimRecipe
from training.part_training import Batch


class PartCLIPSegTraining(CLIPSegTraining):
    """Names and image through the network, losses on its maps and attention.

    Args:
        model: the network; parameters that are not trained are frozen here.
        text_encoder: its text encoder.
        vocabulary: the names to train on; the labels of a batch are positions in it.
        optim: optimiser and schedule.
        weights: weights of the losses.
        train_towers: also train the image and text towers.
        val_vocabulary: names to score on, if they are others: those of training and unseen ones.
    """

    model: PartCLIPSeg
    in_bar = ("total", "separation", "enhancement")

    def __init__(
        self,
        model: PartCLIPSeg,
        text_encoder: TextEncoder,
        vocabulary: Vocabulary,
        optim: OptimRecipe,
        weights: LossWeights,
        *,
        train_towers: bool = False,
        val_vocabulary: Vocabulary | None = None,
    ) -> None:
        super().__init__(
            model,
            text_encoder,
            vocabulary,
            optim,
            train_towers=train_towers,
            val_vocabulary=val_vocabulary,
        )
        self.criterion = PartCLIPSegLoss(weights, model.config.corrections)

    @staticmethod
    def texts(vocabulary: Vocabulary) -> Sequence[str]:
        """The parts, then the objects."""
        return [*vocabulary.parts, *vocabulary.objects_with_parts]

    def losses(self, batch: Batch, *, scoring: bool = False) -> tuple[Losses, PartLogits]:
        """See :meth:`PartTraining.losses`."""
        pixels, object_parts, objects = batch
        index = (self.val_index if scoring else self.index).to(pixels.device)
        conditions = self.model.object_part_conditions(
            self.embeddings(scoring=scoring), index.part, index.object, num_parts=index.num_parts
        )
        features = self.model.encode(pixels)
        logits, attentions = self.model.decode_with_attention(features, conditions)
        targets = PartTargets(object_parts, objects)
        grid = self.model.backbone.grid(*features.size)
        with torch.autocast(pixels.device.type, enabled=False):  # sums over maps need precision
            losses = self.criterion(logits, attentions[-1], targets, index, grid)
        return losses, logits
