"""Lightning module of the compact model: losses, optimiser, schedule and scores.

Every pixel of every scene is a label for three softmaxes: objects, parts and object-parts. Object-parts
that are held out are labels for their object only.
"""

from __future__ import annotations

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Timer
from torch import Tensor

from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.dice import dice_loss
from ovps_core.models.compact.model import PartFPN, PartFPNConfig
from ovps_core.synthetic.catalogue import HELD_OUT_OBJECT_PARTS, object_parts_of
from training.compact.backbone import imagenet_weights, subsample_convolutions
from training.compact.data import LabelTable, SceneCropsModule, relight
from training.compact.recipe import CompactRecipe

Batch = tuple[Tensor, Tensor]
"""RGB uint8 [B, 3, S, S] and object-part ids int64 [B, S, S]."""


def network_config(recipe: CompactRecipe) -> PartFPNConfig:
    """A network for all words of the recipe's level, its object-parts without those held out."""
    object_parts = object_parts_of(recipe.data.level)
    return PartFPNConfig(
        objects=tuple(dict.fromkeys(object_name for object_name, _ in object_parts)),
        parts=tuple(sorted({part_name for _, part_name in object_parts})),
        object_parts=tuple(each for each in object_parts if each not in HELD_OUT_OBJECT_PARTS),
        trunk=recipe.model.backbone,
    )


class CompactTraining(L.LightningModule):
    """Cross entropy and Dice loss at every pixel of the three softmaxes.

    Args:
        config: of the network; its backbone starts from ImageNet weights.
        recipe: every number of the run.
        images: the rendered scenes; the schedule sets the size of their crops.
        timer: measures the training time, on which the schedule depends.
    """

    table_objects: Tensor
    table_parts: Tensor
    table_object_parts: Tensor

    def __init__(
        self,
        config: PartFPNConfig,
        recipe: CompactRecipe,
        images: SceneCropsModule,
        timer: Timer,
    ) -> None:
        super().__init__()
        table = LabelTable.from_config(config, images.object_parts)
        self.model = PartFPN(config).to(memory_format=torch.channels_last)
        self.model.trunk.load_state_dict(imagenet_weights(config.trunk))
        if recipe.model.freeze_filters:
            subsample_convolutions(self.model.trunk)
        self.recipe = recipe
        self.images, self.timer = images, timer
        self.stride = recipe.optim.phases[0][2]
        for name in ("objects", "parts", "object_parts"):
            values = torch.from_numpy(getattr(table, name))
            self.register_buffer(f"table_{name}", values, persistent=False)

    def labels(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Object-part ids int64 [B, H, W] -> classes of the three softmaxes, int64 [B, H, W] each."""
        return self.table_objects[ids], self.table_parts[ids], self.table_object_parts[ids]

    def losses(self, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """(cross entropy, Dice loss), each a sum over the three softmaxes.

        Args:
            images: RGB float [B, 3, S, S], 0 to 1.
            ids: object-part ids int64 [B, S, S].
        """
        pixels = (images * 2 - 1).to(memory_format=torch.channels_last)
        scores = self.model.scores(pixels)
        stride = self.stride
        coarse = ids[:, stride // 2 :: stride, stride // 2 :: stride]
        cross_entropy = dice = torch.zeros((), device=images.device)
        for score, label in zip(scores, self.labels(coarse), strict=True):
            if score.shape[-2:] != label.shape[-2:]:
                score = F.interpolate(score, size=label.shape[-2:], mode="bilinear")
            log_probability = score.float().log_softmax(1)
            cross_entropy = cross_entropy + F.nll_loss(log_probability, label, ignore_index=IGNORE)
            dice = dice + dice_loss(log_probability.exp(), label)
        return cross_entropy, dice

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the total loss, a scalar, and log every term."""
        cross_entropy, dice = self.losses(relight(batch[0]), batch[1])
        total = cross_entropy + self.recipe.losses.dice * dice
        terms = {"total": total, "cross_entropy": cross_entropy, "dice": dice}
        values = {f"loss/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(values, prog_bar=True, batch_size=len(batch[0]))
        return total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the mean IoU of objects and of parts."""
        images, ids = batch
        objects, parts, _ = self.model.scores(images.float() / 127.5 - 1)
        names = zip(("object", "part"), (objects, parts), self.labels(ids)[:2], strict=True)
        for name, score, label in names:
            prediction = F.interpolate(score.float(), size=label.shape[-2:], mode="bilinear")
            miou = scene_miou(prediction.argmax(1), label)
            self.log(f"score/{name}_miou", miou, prog_bar=True, batch_size=len(images))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW with four groups: backbone or not, matrices or vectors; vectors do not decay.

        A group's ``peak`` is its learning rate at the top of the schedule.
        """
        optim = self.recipe.optim
        named = [(n, p) for n, p in self.model.named_parameters()]
        groups: list[dict[str, object]] = []
        for in_backbone, factor in ((True, optim.backbone_lr_factor), (False, 1.0)):
            own = [p for n, p in named if n.startswith("trunk") == in_backbone]
            for is_matrix, decay in ((True, optim.weight_decay), (False, 0.0)):
                chosen = [p for p in own if (p.ndim > 1) == is_matrix and p.requires_grad]
                peak = optim.lr * factor
                groups.append({"params": chosen, "peak": peak, "lr": 0.0, "weight_decay": decay})
        return torch.optim.AdamW(groups)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set learning rates, crop size and label stride from the share of the time used."""
        optim = self.recipe.optim
        used = min(1.0, self.timer.time_elapsed() / (optim.minutes * 60))
        warmup = min(1.0, used / optim.warmup) if optim.warmup else 1.0
        cosine = 0.5 * (1 + torch.cos(torch.tensor(used * torch.pi))).item()
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group["peak"] * warmup * max(cosine, 1e-3)
        ends = torch.tensor([phase[0] for phase in optim.phases]).cumsum(0)
        phase = min(int((ends < used).sum()), len(optim.phases) - 1)
        _, size, self.stride = optim.phases[phase]
        self.images.set_crop_size(size)


def scene_miou(prediction: Tensor, labels: Tensor) -> Tensor:
    """Mean IoU over all (scene, class in the scene), background excluded.

    Args:
        prediction: int64 [B, h, w].
        labels: int64 [B, h, w]; pixels of ``IGNORE`` do not count.
    """
    ious = []
    for row, truth in zip(prediction, labels, strict=True):
        row = torch.where(truth == IGNORE, IGNORE, row)
        for value in truth.unique():
            if value > 0:
                union = ((row == value) | (truth == value)).sum()
                ious.append(((row == value) & (truth == value)).sum() / union)
    return torch.stack(ious).mean()
