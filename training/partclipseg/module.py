"""Lightning module of PartCLIPSeg: the paper's losses; optimiser and schedule are those of CLIPSeg."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovps_core.language.vocabulary import Vocabulary
from ovps_core.losses.labels import PartTargets
from ovps_core.losses.partclipseg import Losses
from ovps_core.models.interface import PartLogits
from ovps_core.models.partclipseg.model import PartCLIPSeg
from training.clipseg.module import CLIPSegTraining
from training.part_training import Batch


class PartCLIPSegTraining(CLIPSegTraining):
    """Names and image through the network, losses on its maps and attention.

    Its criterion is a :class:`ovps_core.losses.partclipseg.PartCLIPSegLoss`.
    """

    model: PartCLIPSeg
    in_bar = ("total", "separation", "enhancement")

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
