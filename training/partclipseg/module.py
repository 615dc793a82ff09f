"""PartCLIPSeg as a Lightning module: the paper's losses, optimiser and schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ovps_core.language.vocabulary import IGNORE, Vocabulary
from ovps_core.losses.labels import ObjectPartIndex, PartTargets
from ovps_core.losses.partclipseg import Losses, LossWeights, PartCLIPSegLoss
from ovps_core.models.interface import PartLogits
from ovps_core.models.partclipseg.model import PartCLIPSeg
from ovps_core.models.text.tower import TextEncoder
from training.recipe import OptimRecipe

Batch = tuple[Tensor, Tensor, Tensor]
"""Pixels float [B, 3, H, W], pairs int64 [B, H, W], objects int64 [B, H, W]."""

_TRAINED_TOWER_PARTS = ("text.tower.token_embedding", "text.tower.positional_embedding")
_TOWERS = ("text.", "backbone.")


def named_parameters(
    model: nn.Module, text_encoder: nn.Module
) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters of a network and its text encoder under the names of a weights file."""
    yield from model.named_parameters()
    for name, parameter in text_encoder.named_parameters():
        yield f"text.{name}", parameter


def trainable_names(
    model: nn.Module, text_encoder: nn.Module, *, towers: bool = False
) -> list[str]:
    """Names of the parameters that the paper trains: adapter, decoder, both heads, text embeddings.

    Args:
        model: the network.
        text_encoder: its text encoder.
        towers: all parameters, for towers without pretrained weights.
    """
    return [
        name
        for name, _ in named_parameters(model, text_encoder)
        if towers or name.startswith(_TRAINED_TOWER_PARTS) or not name.startswith(_TOWERS)
    ]


def parameter_groups(
    model: nn.Module, text_encoder: nn.Module, weight_decay: float
) -> list[dict[str, object]]:
    """AdamW's groups: LayerNorm and embeddings (of tokens and of positions) do not decay."""
    still = {
        id(parameter)
        for module in (*model.modules(), *text_encoder.modules())
        if isinstance(module, (nn.LayerNorm, nn.Embedding))
        for parameter in module.parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in named_parameters(model, text_encoder):
        if parameter.requires_grad:
            plain = id(parameter) in still or name.endswith("positional_embedding")
            (undecayed if plain else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]


class PartCLIPSegTraining(pl.LightningModule):
    """One optimiser step: words and image through the network, losses on its maps and attention.

    Args:
        model: the network; parameters that are not trained are frozen here.
        text_encoder: its text encoder.
        vocabulary: what it is asked for; the labels of a batch are positions in it.
        optim: how it is learned.
        weights: of the losses.
        train_towers: also train the image and text towers.
    """

    def __init__(
        self,
        model: PartCLIPSeg,
        text_encoder: TextEncoder,
        vocabulary: Vocabulary,
        optim: OptimRecipe,
        weights: LossWeights,
        *,
        train_towers: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.text_encoder = text_encoder
        self.vocabulary = vocabulary
        self.optim = optim
        self.criterion = PartCLIPSegLoss(weights, model.config.corrections)
        learned = set(trainable_names(model, text_encoder, towers=train_towers))
        for name, parameter in named_parameters(model, text_encoder):
            parameter.requires_grad_(name in learned)
        model.backbone.train(train_towers)  # a frozen tower keeps its running statistics
        tokens = text_encoder.tokenizer([*vocabulary.parts, *vocabulary.objects_with_parts])
        self.tokens: Tensor
        self.register_buffer("tokens", tokens, persistent=False)
        num_parts = len(vocabulary.parts)
        part_rows = torch.from_numpy(vocabulary.part_index)
        object_rows = torch.from_numpy(vocabulary.object_index)
        self.index = ObjectPartIndex(part_rows, num_parts + object_rows, num_parts)
        self._hits: dict[str, Tensor] = {}

    def losses(self, batch: Batch) -> tuple[Losses, PartLogits]:
        """Every loss of one batch, and the maps it was taken on."""
        pixels, pairs, objects = batch
        index = self.index.to(pixels.device)
        words = self.text_encoder(self.tokens)
        conditions = self.model.conditions(
            words, index.part, index.object - index.num_parts, num_parts=index.num_parts
        )
        features = self.model.encode(pixels)
        logits, attentions = self.model.decode_with_attention(features, conditions)
        targets = PartTargets(pairs, objects)
        grid = self.model.backbone.grid(*features.size)
        with torch.autocast(pixels.device.type, enabled=False):  # sums over maps need precision
            losses = self.criterion(logits, attentions[-1], targets, index, grid)
        return losses, logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The total loss; every term goes to the log."""
        losses, _ = self.losses(batch)
        for field in dataclasses.fields(losses):
            bar = field.name in ("total", "separation", "enhancement")
            value = getattr(losses, field.name).detach()
            self.log(f"loss/{field.name}", value, prog_bar=bar, batch_size=len(batch[0]))
        return losses.total

    def on_validation_epoch_start(self) -> None:
        """Forget the last score."""
        pairs = len(self.vocabulary.object_parts)
        counts = {"chosen": pairs + 1, "masked": pairs}
        self._hits = {
            name: torch.zeros(3, n, dtype=torch.int64, device=self.device)
            for name, n in counts.items()
        }

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count intersections and areas, of the best map a pixel and of each map by itself."""
        losses, logits = self.losses(batch)
        self.log("score/loss", losses.total, batch_size=len(batch[0]))
        size = (logits.object_parts.shape[-2], logits.object_parts.shape[-1])
        truth = PartTargets(batch[1], batch[2]).resized(size).pairs
        count = len(self.vocabulary.object_parts)
        # a pixel of an object that shows none of its parts is background here
        truth = torch.where(truth == IGNORE, count, truth)
        true_maps = _maps(truth, count + 1)
        chosen = _maps(logits.object_parts.argmax(dim=1), count + 1)
        self._hits["chosen"] += _counts(chosen, true_maps)
        self._hits["masked"] += _counts(logits.object_parts[:, :-1] > 0, true_maps[:, :-1])

    def on_validation_epoch_end(self) -> None:
        """Mean IoU over the parts that occur; ``part_miou`` counts background as a choice."""
        for name, counts in self._hits.items():
            gathered = self.all_gather(counts)
            assert isinstance(gathered, Tensor)  # a tensor in, a tensor out
            hit, shown, true = gathered.reshape(-1, *counts.shape).sum(0)
            union = shown + true - hit
            parts = torch.arange(len(hit), device=hit.device) < len(self.vocabulary.object_parts)
            seen = (true > 0) & parts
            iou = (hit[seen] / union[seen]).mean() if bool(seen.any()) else hit.new_zeros(())
            key = {"chosen": "score/part_miou", "masked": "score/part_miou_of_masks"}[name]
            self.log(key, iou.float(), prog_bar=name == "chosen")

    def configure_optimizers(self) -> dict[str, object]:  # type: ignore[override]
        """AdamW with the paper's groups; linear rise, then (1 - step / steps) ** power."""
        optim = self.optim
        optimizer = torch.optim.AdamW(
            parameter_groups(self.model, self.text_encoder, optim.weight_decay), lr=optim.lr
        )

        def factor(step: int) -> float:
            rise = min(1.0, (step + 1) / optim.warmup) if optim.warmup else 1.0
            return rise * max(0.0, 1 - step / optim.steps) ** optim.poly_power

        schedule = {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def _maps(labels: Tensor, count: int) -> Tensor:
    return labels[:, None] == torch.arange(count, device=labels.device)[:, None, None]


def _counts(maps: Tensor, truth: Tensor) -> Tensor:
    """Per channel of bool [B, K, h, w] the pixels in both, in ``maps``, in ``truth``: int64 [3, K]."""

    def total(hits: Tensor) -> Tensor:
        return hits.sum(dim=(0, 2, 3))

    return torch.stack([total(maps & truth), total(maps), total(truth)])
