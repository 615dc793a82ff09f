"""Lightning module of CLIPSeg on parts, the baseline of PartCLIPSeg: its loss, optimiser and schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ovps_core.language.vocabulary import Vocabulary
from ovps_core.losses.labels import PartTargets
from ovps_core.losses.partcatseg import catseg_loss
from ovps_core.models.clipseg.model import CLIPSeg
from ovps_core.models.interface import Conditions, Features, PartLogits
from training.clipseg.recipe import OptimRecipe
from training.optimiser import adamw_groups, half_cosine, named_parameters, scheduled, undecayed
from training.part_training import Batch, TotalLoss, TowerTraining

NAMES_AT_ONCE = 16
"""Names whose activations in the decoder are held at the same time."""


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


class CLIPSegTraining(TowerTraining):
    """Phrases of (object, part) classes and image through the network, binary cross-entropy on each map.

    Source: the baseline in the code of OV-PARTS and PartCLIPSeg, a CLIPSeg with an adapter and a background.
    The paper trains adapter, decoder, all heads and the text embeddings.
    """

    model: CLIPSeg
    trained_in_towers = ("text.tower.token_embedding", "text.tower.positional_embedding")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """See :class:`TowerTraining`."""
        super().__init__(*arguments, **options)
        self.model.backbone.train(self.train_towers)  # frozen, it keeps its running statistics
        self.tokens: Tensor
        self.val_tokens: Tensor
        for name, names in (("tokens", self.vocabulary), ("val_tokens", self.val_vocabulary)):
            tokens = self.text_encoder.tokenizer(list(self.texts(names)))
            self.register_buffer(name, tokens, persistent=False)

    @staticmethod
    def texts(vocabulary: Vocabulary) -> Sequence[str]:
        """Texts that the text tower reads, without a template."""
        return vocabulary.object_part_names

    def embeddings(self, *, scoring: bool) -> Tensor:
        """Embeddings float [N, D] of :meth:`texts`; gradients flow."""
        return self.text_encoder(self.val_tokens if scoring else self.tokens)

    def losses(self, batch: Batch, *, scoring: bool = False) -> tuple[Any, PartLogits]:
        """See :meth:`PartTraining.losses`."""
        pixels, object_parts, objects = batch
        names = self.model.with_background(self.embeddings(scoring=scoring))
        maps = self._maps(self.model.encode(pixels), names)
        with torch.autocast(pixels.device.type, enabled=False):  # sums over maps need precision
            total = catseg_loss(PartLogits.names_only(maps), PartTargets(object_parts, objects))
        return TotalLoss(total), PartLogits(maps[:, :0], maps)

    def _maps(self, features: Features, names: Tensor) -> Tensor:
        """Logits float [B, C, h, w] of C names; for gradients, groups of names are decoded once more."""

        def decode(rows: Tensor) -> Tensor:
            return self.model.decode(features, Conditions.names_only(rows)).names

        groups = names.split(NAMES_AT_ONCE)
        if len(groups) == 1:
            return decode(names)
        maps = [
            checkpoint(decode, g, use_reentrant=False, preserve_rng_state=False) for g in groups
        ]
        return torch.cat(maps, dim=1)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with the paper's groups, and the schedule of the recipe."""
        optim = self.optim
        groups = parameter_groups(self.model, self.text_encoder, optim)
        return scheduled(torch.optim.AdamW(groups), optim.warmup, decay(optim))
