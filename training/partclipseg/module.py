"""Lightning module of PartCLIPSeg: the paper's losses, optimiser, schedule and scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from ovps_core.language.vocabulary import Vocabulary
from ovps_core.losses.labels import PartTargets
from ovps_core.losses.partclipseg import Losses, LossWeights, PartCLIPSegLoss
from ovps_core.models.interface import PartLogits
from ovps_core.models.partclipseg.model import PartCLIPSeg
from ovps_core.models.text.tower import TextEncoder
from training.optimiser import adamw_groups, half_cosine, named_parameters, scheduled, undecayed
from training.part_training import Batch, PartTraining
from training.partclipseg.recipe import OptimRecipe

_TRAINED_TOWER_PARTS = ("text.tower.token_embedding", "text.tower.positional_embedding")
_TOWERS = ("text.", "backbone.")


def trainable_names(
    model: nn.Module, text_encoder: nn.Module, *, towers: bool = False
) -> list[str]:
    """Names of the parameters that the paper trains: adapter, decoder, both heads, text embeddings.

    Args:
        model: the network.
        text_encoder: its text encoder.
        towers: all parameters instead, for towers without pretrained weights.
    """
    return [
        name
        for name, _ in named_parameters(model, text_encoder)
        if towers or name.startswith(_TRAINED_TOWER_PARTS) or not name.startswith(_TOWERS)
    ]


def parameter_groups(
    model: nn.Module, text_encoder: nn.Module, optim: OptimRecipe
) -> list[dict[str, Any]]:
    """Parameter groups of AdamW: normalisations and embeddings (of tokens and positions) do not decay."""
    exempt = undecayed(model, text_encoder)
    return adamw_groups(
        named_parameters(model, text_encoder),
        optim.weight_decay,
        lr=lambda _: optim.lr,
        is_undecayed=lambda name, p: id(p) in exempt or name.endswith("positional_embedding"),
    )


def decay(optim: OptimRecipe) -> Callable[[int], float]:
    """Decay of the learning rate by step: (1 - step / steps) ** power or half a cosine."""

    def factor(step: int) -> float:
        share = step / optim.steps
        if optim.schedule == "cosine":
            return half_cosine(share)
        return float(max(0.0, 1 - share) ** optim.poly_power)

    return factor


class PartCLIPSegTraining(PartTraining):
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
        super().__init__(vocabulary, val_vocabulary)
        self.model = model
        self.text_encoder = text_encoder
        self.optim = optim
        self.criterion = PartCLIPSegLoss(weights, model.config.corrections)
        trainable = set(trainable_names(model, text_encoder, towers=train_towers))
        for name, parameter in named_parameters(model, text_encoder):
            parameter.requires_grad_(name in trainable)
        model.backbone.train(train_towers)  # a frozen tower keeps its running statistics
        self.tokens: Tensor
        self.val_tokens: Tensor
        for name, names in (("tokens", vocabulary), ("val_tokens", self.val_vocabulary)):
            tokens = text_encoder.tokenizer([*names.parts, *names.objects_with_parts])
            self.register_buffer(name, tokens, persistent=False)

    def losses(self, batch: Batch, *, scoring: bool = False) -> tuple[Losses, PartLogits]:
        """See :meth:`PartTraining.losses`."""
        pixels, object_parts, objects = batch
        index = (self.val_index if scoring else self.index).to(pixels.device)
        embeddings = self.text_encoder(self.val_tokens if scoring else self.tokens)
        conditions = self.model.object_part_conditions(
            embeddings, index.part, index.object, num_parts=index.num_parts
        )
        features = self.model.encode(pixels)
        logits, attentions = self.model.decode_with_attention(features, conditions)
        targets = PartTargets(object_parts, objects)
        grid = self.model.backbone.grid(*features.size)
        with torch.autocast(pixels.device.type, enabled=False):  # sums over maps need precision
            losses = self.criterion(logits, attentions[-1], targets, index, grid)
        return losses, logits

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with the paper's groups, and the schedule of the recipe."""
        optim = self.optim
        groups = parameter_groups(self.model, self.text_encoder, optim)
        return scheduled(torch.optim.AdamW(groups), optim.warmup, decay(optim))
