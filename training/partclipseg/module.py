"""Lightning module of PartCLIPSeg: the paper's losses, optimiser, schedule and scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ovps_core.language.vocabulary import IGNORE, Vocabulary
from ovps_core.losses.labels import ObjectPartIndex, PartTargets
from ovps_core.losses.partclipseg import Losses, LossWeights, PartCLIPSegLoss
from ovps_core.models.interface import PartLogits
from ovps_core.models.partclipseg.model import PartCLIPSeg
from ovps_core.models.text.tower import TextEncoder
from training.partclipseg.recipe import OptimRecipe

Batch = tuple[Tensor, Tensor, Tensor]
"""Pixels float [B, 3, H, W], object-parts int64 [B, H, W], objects int64 [B, H, W]."""

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
        towers: all parameters instead, for towers without pretrained weights.
    """
    return [
        name
        for name, _ in named_parameters(model, text_encoder)
        if towers or name.startswith(_TRAINED_TOWER_PARTS) or not name.startswith(_TOWERS)
    ]


def parameter_groups(
    model: nn.Module, text_encoder: nn.Module, weight_decay: float
) -> list[dict[str, object]]:
    """Parameter groups of AdamW: LayerNorm and embeddings (of tokens and positions) do not decay."""
    never_decayed = {
        id(parameter)
        for module in (*model.modules(), *text_encoder.modules())
        if isinstance(module, (nn.LayerNorm, nn.Embedding))
        for parameter in module.parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in named_parameters(model, text_encoder):
        if parameter.requires_grad:
            exempt = id(parameter) in never_decayed or name.endswith("positional_embedding")
            (undecayed if exempt else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]


class PartCLIPSegTraining(L.LightningModule):
    """Names and image through the network, losses on its maps and attention.

    Args:
        model: the network; parameters that are not trained are frozen here.
        text_encoder: its text encoder.
        vocabulary: the names to train on; the labels of a batch are positions in it.
        optim: optimiser and schedule.
        weights: weights of the losses.
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
        trainable = set(trainable_names(model, text_encoder, towers=train_towers))
        for name, parameter in named_parameters(model, text_encoder):
            parameter.requires_grad_(name in trainable)
        model.backbone.train(train_towers)  # a frozen tower keeps its running statistics
        tokens = text_encoder.tokenizer([*vocabulary.parts, *vocabulary.objects_with_parts])
        self.tokens: Tensor
        self.register_buffer("tokens", tokens, persistent=False)
        num_parts = len(vocabulary.parts)
        part_rows = torch.from_numpy(vocabulary.part_index)
        object_rows = torch.from_numpy(vocabulary.object_index)
        self.index = ObjectPartIndex(part_rows, num_parts + object_rows, num_parts)
        self._pixel_counts: dict[str, Tensor] = {}

    def losses(self, batch: Batch) -> tuple[Losses, PartLogits]:
        """Every loss of one batch, and the logits it was computed from."""
        pixels, object_parts, objects = batch
        index = self.index.to(pixels.device)
        embeddings = self.text_encoder(self.tokens)
        conditions = self.model.conditions(
            embeddings, index.part, index.object - index.num_parts, num_parts=index.num_parts
        )
        features = self.model.encode(pixels)
        logits, attentions = self.model.decode_with_attention(features, conditions)
        targets = PartTargets(object_parts, objects)
        grid = self.model.backbone.grid(*features.size)
        with torch.autocast(pixels.device.type, enabled=False):  # sums over maps need precision
            losses = self.criterion(logits, attentions[-1], targets, index, grid)
        return losses, logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the total loss, a scalar, and log every term."""
        losses, _ = self.losses(batch)
        for field in dataclasses.fields(losses):
            in_bar = field.name in ("total", "separation", "enhancement")
            value = getattr(losses, field.name).detach()
            self.log(f"loss/{field.name}", value, prog_bar=in_bar, batch_size=len(batch[0]))
        return losses.total

    def on_validation_epoch_start(self) -> None:
        """Set all pixel counts to zero."""
        count = len(self.vocabulary.object_parts)
        channels = {"argmax": count + 1, "masks": count}
        self._pixel_counts = {
            name: torch.zeros(3, n, dtype=torch.int64, device=self.device)
            for name, n in channels.items()
        }

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count intersections and areas, for the highest map per pixel and for each map separately."""
        losses, logits = self.losses(batch)
        self.log("score/loss", losses.total, batch_size=len(batch[0]))
        maps = logits.object_parts
        truth = PartTargets(batch[1], batch[2]).resized((maps.shape[-2], maps.shape[-1]))
        count = len(self.vocabulary.object_parts)
        # a pixel of an object without a part label is background here
        labels = torch.where(truth.object_parts == IGNORE, count, truth.object_parts)
        true_maps = _one_map_per_label(labels, count + 1)
        argmax = _one_map_per_label(maps.argmax(dim=1), count + 1)
        self._pixel_counts["argmax"] += _count(argmax, true_maps)
        self._pixel_counts["masks"] += _count(maps[:, :-1] > 0, true_maps[:, :-1])

    def on_validation_epoch_end(self) -> None:
        """Log the mean IoU over the parts in the images; ``part_miou`` has background as a class, too."""
        names = {"argmax": "score/part_miou", "masks": "score/part_miou_of_masks"}
        for name, counts in self._pixel_counts.items():
            gathered = self.all_gather(counts)
            assert isinstance(gathered, Tensor)  # a tensor in, a tensor out
            both, predicted, true = gathered.reshape(-1, *counts.shape).sum(0)
            union = predicted + true - both
            is_part = torch.arange(len(both), device=both.device) < len(
                self.vocabulary.object_parts
            )
            present = (true > 0) & is_part
            iou = (both / union)[present]
            mean = iou.mean() if bool(present.any()) else iou.new_zeros(())
            self.log(names[name], mean.float(), prog_bar=name == "argmax")

    def configure_optimizers(self) -> dict[str, object]:  # type: ignore[override]
        """AdamW with the paper's groups; a linear warm-up, then (1 - step / steps) ** power."""
        optim = self.optim
        optimizer = torch.optim.AdamW(
            parameter_groups(self.model, self.text_encoder, optim.weight_decay), lr=optim.lr
        )

        def factor(step: int) -> float:
            warmup = min(1.0, (step + 1) / optim.warmup) if optim.warmup else 1.0
            return float(warmup * max(0.0, 1 - step / optim.steps) ** optim.poly_power)

        schedule = {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def _one_map_per_label(labels: Tensor, count: int) -> Tensor:
    """Labels int64 [B, h, w] -> bool [B, count, h, w]."""
    return labels[:, None] == torch.arange(count, device=labels.device)[:, None, None]


def _count(maps: Tensor, truth: Tensor) -> Tensor:
    """Pixels per channel of bool [B, K, h, w]: in both, in ``maps``, in ``truth``; int64 [3, K]."""
    return torch.stack([each.sum(dim=(0, 2, 3)) for each in (maps & truth, maps, truth)])
