"""Lightning module of the compact model: losses, optimiser, schedule and scores.

Every pixel of every scene is a label for three softmaxes: objects, parts and object-parts. Object-parts
that are held out are labels for their object only.
"""

from __future__ import annotations

from collections.abc import Sequence

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Timer
from torch import Tensor, nn

from ovps_core.checkpoints import find_weights, load_model
from ovps_core.checkpoints.file import read_info
from ovps_core.errors import CheckpointError
from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.dice import dice_loss
from ovps_core.losses.partial_labels import absent_class_loss
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.models.compact.model import PartFPN
from ovps_core.synthetic.catalogue import HELD_OUT_OBJECT_PARTS, object_parts_of
from ovps_core.synthetic.settings import IGNORED
from training.backbone import imagenet_weights, subsample_convolutions
from training.compact.augment import relight
from training.compact.data import CompactImages, LabelTable
from training.compact.growth import class_columns, grown_config, grown_state, softmax_names
from training.compact.recipe import CompactRecipe
from training.optimiser import adamw_groups, half_cosine

Batch = tuple[Tensor, Tensor, Tensor]
"""RGB uint8 [B, 3, S, S], object-part ids int64 [B, S, S], absent ids bool [B, 256] (``photographs.Sample``)."""


def network_config(recipe: CompactRecipe) -> PartFPNConfig:
    """A network for all words of the recipe's level, its object-parts without those held out.

    A recipe with ``model.start`` gives that network's configuration, calibration included, with the words that the
    recipe adds or drops.

    Raises:
        CheckpointError: the weights to start from are missing, damaged, or of another family.
        ConfigError: an object to keep or a word is not known.
    """
    if recipe.model.start:
        start = _start_config(recipe.model.start)
        words = recipe.model.words
        return grown_config(start, recipe.model.objects, keep=recipe.model.keep, synonyms=words)
    object_parts = object_parts_of(recipe.data.level)
    return PartFPNConfig(
        objects=tuple(dict.fromkeys(object_name for object_name, _ in object_parts)),
        parts=tuple(sorted({part_name for _, part_name in object_parts})),
        object_parts=tuple(each for each in object_parts if each not in HELD_OUT_OBJECT_PARTS),
        trunk=recipe.model.backbone,
    )


def _start_config(start: str) -> PartFPNConfig:
    """Configuration of the network to start from."""
    info = read_info(find_weights(start))
    if not isinstance(info.config, PartFPNConfig):
        raise CheckpointError(
            f"{start} is a {info.model} model; a compact model starts from a compact one, such as ovps-tiny"
        )
    return info.config


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
        images: CompactImages,
        timer: Timer,
    ) -> None:
        super().__init__()
        table = LabelTable.from_config(config, images.object_parts)
        self.model = PartFPN(config).to(memory_format=torch.channels_last)
        self._teacher: list[_Teacher] = []  # a list hides it from the state and the optimiser
        if recipe.model.start:
            start = load_model(find_weights(recipe.model.start)).model
            assert isinstance(start, PartFPN)
            self.model.load_state_dict(grown_state(start, config))
            if recipe.losses.retain:
                self._teacher.append(_Teacher(start, config))
        else:
            self.model.trunk.load_state_dict(imagenet_weights(config.trunk))
        if recipe.model.grows:  # a few new pictures would replace the statistics of thousands
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        if recipe.model.freeze_filters:
            subsample_convolutions(self.model.trunk)
        self.recipe = recipe
        self.images, self.timer = images, timer
        self.stride = recipe.optim.phases[0][2]
        self._ious: dict[str, Tensor] = {}
        for name in ("objects", "parts", "object_parts"):
            values = torch.from_numpy(getattr(table, name))
            self.register_buffer(f"table_{name}", values, persistent=False)

    def labels(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Object-part ids int64 [B, H, W] -> classes of the three softmaxes, int64 [B, H, W] each."""
        return self.table_objects[ids], self.table_parts[ids], self.table_object_parts[ids]

    def losses(
        self, images: Tensor, ids: Tensor, absent: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(cross entropy, Dice, absent classes, answers to retain), each a sum over the softmaxes.

        Args:
            images: RGB float [B, 3, S, S], 0 to 1.
            ids: object-part ids int64 [B, S, S].
            absent: bool [B, 256], ids that no unlabelled pixel of an image shows.
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
            labelled = (label != IGNORE).sum().clamp(min=1)  # a batch may have no label at all
            each = F.nll_loss(log_probability, label, ignore_index=IGNORE, reduction="sum")
            cross_entropy = cross_entropy + each / labelled
            dice = dice + dice_loss(log_probability.exp(), label)
        unknown = coarse == IGNORED
        retain = torch.zeros((), device=images.device)
        for teacher in self._teacher:
            retain = retain + teacher.loss(pixels, scores, unknown)
        absence = torch.zeros((), device=images.device)
        if bool(absent.any()):
            for score, classes in zip(
                (scores[0], scores[2]), self.absent_classes(absent), strict=True
            ):
                if score.shape[-2:] != unknown.shape[-2:]:
                    score = F.interpolate(score, size=unknown.shape[-2:], mode="bilinear")
                log_probability = score.float().log_softmax(1)
                absence = absence + absent_class_loss(log_probability, unknown, classes)
        return cross_entropy, dice, absence, retain

    def absent_classes(self, absent: Tensor) -> tuple[Tensor, Tensor]:
        """Absent ids bool [B, 256] -> absent objects bool [B, 1 + n] and object-parts bool [B, 1 + m].

        An object is absent from the unlabelled pixels if one of its parts is. That is wrong where a photograph
        shows more of the object than its named parts, such as the side of a cabinet, which no query asks for.
        """
        known = self.table_object_parts > 0
        object_parts = absent.new_zeros(len(absent), 1 + len(self.model.config.object_parts))
        object_parts[:, self.table_object_parts[known]] = absent[:, known]
        objects = absent.new_zeros(len(absent), 1 + len(self.model.config.objects))
        for value in known.nonzero().flatten():
            objects[:, self.table_objects[value]] |= absent[:, value]
        return objects, object_parts

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the total loss, a scalar, and log every term."""
        cross_entropy, dice, absence, retain = self.losses(relight(batch[0]), *batch[1:])
        weights = self.recipe.losses
        total = cross_entropy + weights.dice * dice + weights.absence * absence
        total = total + weights.retain * retain
        terms = {"total": total, "cross_entropy": cross_entropy, "dice": dice, "absence": absence}
        terms |= {"retain": retain} if self._teacher else {}
        values = {f"loss/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(values, prog_bar=True, batch_size=len(batch[0]))
        return total

    def on_validation_epoch_start(self) -> None:
        """Set the sums to zero."""
        self._ious = {name: torch.zeros(2, device=self.device) for name in ("object", "part")}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Sum up and count the IoU of objects and of object-parts.

        A pixel without a label counts only where the answer is an object-part that it is known not to show.
        """
        images, ids, absent = batch
        objects, _, object_parts = self.model.scores(images.float() / 127.5 - 1)
        object_labels, _, labels = self.labels(ids)
        claimed = _classes(object_parts, labels.shape[-2:])
        lacking = self.absent_classes(absent)[1].gather(1, claimed.flatten(1)).view_as(claimed)
        labels = labels.masked_fill((ids == IGNORED) & lacking, 0)
        ious = {
            "object": picture_ious(_classes(objects, labels.shape[-2:]), object_labels),
            "part": picture_ious(claimed, labels),
        }
        for name, each in ious.items():
            self._ious[name] += torch.stack([each.sum(), torch.ones_like(each).sum()])

    def on_validation_epoch_end(self) -> None:
        """Log the mean IoU of objects and of object-parts, over all (picture, class in the picture)."""
        for name, sums in self._ious.items():
            gathered = self.all_gather(sums)
            assert isinstance(gathered, Tensor)  # a tensor in, a tensor out
            total, count = gathered.reshape(-1, 2).sum(0)
            self.log(f"score/{name}_miou", total / count.clamp(min=1), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW with four groups: backbone or not, matrices or vectors; vectors do not decay.

        A group's ``peak`` is its learning rate at the top of the schedule.
        """
        optim = self.recipe.optim
        groups = adamw_groups(
            self.model.named_parameters(),
            optim.weight_decay,
            lr=lambda n: optim.lr * (optim.backbone_lr_factor if n.startswith("trunk") else 1),
            is_undecayed=lambda _, p: p.ndim <= 1,
        )
        return torch.optim.AdamW({**group, "peak": group["lr"], "lr": 0.0} for group in groups)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set learning rates, crop size and label stride from the share of the time used."""
        optim = self.recipe.optim
        used = min(1.0, self.timer.time_elapsed() / (optim.minutes * 60))
        warmup = min(1.0, used / optim.warmup) if optim.warmup else 1.0
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group["peak"] * warmup * max(half_cosine(used), 1e-3)
        ends = torch.tensor([phase[0] for phase in optim.phases]).cumsum(0)
        phase = min(int((ends < used).sum()), len(optim.phases) - 1)
        _, size, self.stride = optim.phases[phase]
        self.images.set_crop_size(size)


class _Teacher:
    """The network that training started from, whose answers are kept where a picture has no label.

    A class that only one of the two networks knows is background to the other (Cermelli et al., CVPR 2020, eq. 6).

    Args:
        start: the network.
        config: of the network in training.
    """

    def __init__(self, start: PartFPN, config: PartFPNConfig) -> None:
        self.model = start.eval().requires_grad_(False)
        names = zip(softmax_names(start.config), softmax_names(config), strict=True)
        self.columns = [class_columns(old, new) for old, new in names]

    def __deepcopy__(self, memo: object) -> _Teacher:
        """Itself: it never changes, so averaged weights need no copy of it."""
        return self

    def loss(self, pixels: Tensor, scores: Sequence[Tensor], unknown: Tensor) -> Tensor:
        """Mean cross entropy with the teacher's probabilities over the unknown pixels; 0 without any.

        Args:
            pixels: float [B, 3, S, S], of the network's input.
            scores: of the network in training, float [B, 1 + n, h, w] for each softmax.
            unknown: bool [B, H, W], pixels without a label.
        """
        total = scores[0].new_zeros((), dtype=torch.float32)
        where = F.interpolate(unknown[:, None].float(), scores[0].shape[-2:])[:, 0] > 0
        if not bool(where.any()):
            return total
        self.model.to(pixels.device)
        with torch.no_grad():
            answers = self.model.scores(pixels)
        for answer, score, (old, new) in zip(answers, scores, self.columns, strict=True):
            target = _merge_classes(answer.movedim(1, -1)[where].float().softmax(-1), old)
            prediction = _merge_classes(score.movedim(1, -1)[where].float().softmax(-1), new)
            total = total - (target * prediction.clamp(min=1e-6).log()).sum(-1).mean()
        return total


def _merge_classes(probabilities: Tensor, columns: Tensor) -> Tensor:
    """Probabilities float [N, C] summed into the columns int64 [C], float [N, 1 + shared classes]."""
    columns = columns.to(probabilities.device)
    merged = probabilities.new_zeros(len(probabilities), int(columns.max()) + 1)
    return merged.index_add(1, columns, probabilities)


def _classes(scores: Tensor, size: Sequence[int]) -> Tensor:
    """Classes int64 [B, H, W] with the highest of the scores float [B, C, h, w], at a size (H, W)."""
    return F.interpolate(scores.float(), size=tuple(size), mode="bilinear").argmax(1)


def picture_ious(prediction: Tensor, labels: Tensor) -> Tensor:
    """IoU of each (picture, class in the picture), float [N], background excluded; N may be 0.

    Args:
        prediction: int64 [B, h, w].
        labels: int64 [B, h, w]; pixels of ``IGNORE`` do not count.
    """
    ious = [labels.new_zeros(0, dtype=torch.float32)]
    for row, truth in zip(prediction, labels, strict=True):
        row = torch.where(truth == IGNORE, IGNORE, row)
        for value in truth.unique():
            if value > 0:
                union = ((row == value) | (truth == value)).sum()
                ious.append(((row == value) & (truth == value)).sum()[None] / union)
    return torch.cat(ious)
