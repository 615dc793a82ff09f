"""Train a tiny model on rendered scenes: ``python -m training.compact.module --data DIR --out DIR``.

Every pixel of every scene teaches three softmaxes (objects, parts, pairs); pairs held out teach their object
only. Training ends by the clock, so the same command fits a laptop's evening and a GPU's hour.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path

import lightning as L
import torch
import torch.nn.functional as F
import yaml
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, Timer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from ovps_core.language.vocabulary import IGNORE
from ovps_core.models.compact.model import PartFPN, PartFPNConfig
from ovps_core.synthetic.catalogue import HELD_OUT_PAIRS, pairs_of
from ovps_core.synthetic.reader import RenderedScenes
from ovps_core.synthetic.settings import Level
from training.compact.backbone import imagenet_weights, subsample_convolutions
from training.compact.data import LabelTable, SceneCrops, relight


@dataclass(frozen=True)
class CompactRecipe:
    """Every number of the training.

    Attributes:
        level: which rendered world's words the model knows; "wild" has those of the tabletop too.
        trunk: a timm network, started from its ImageNet weights.
        phases: (share of the time, side of the crops, stride of the labels; both in pixels). Coarse labels are
            four times cheaper and teach the classes; fine ones then teach the outlines.
        batch: scenes a step.
        learning_rate, weight_decay: of AdamW; the rate warms up, then falls as a cosine of the time used.
        light_trunk: keep the first layers and the depthwise filters as ImageNet taught them (EfficientNets only).
        trunk_rate: the trunk's learning rate as a share of the others', which start from nothing.
        warm_up: share of the time.
        dice: weight of the soft Dice loss, which counts small parts as much as large ones.
        ema: decay of the averaged weights a step.
    """

    level: Level = "wild"
    trunk: str = "efficientnet_lite0"
    phases: tuple[tuple[float, int, int], ...] = ((0.65, 128, 4), (0.35, 192, 2))
    batch: int = 32
    learning_rate: float = 2e-3
    light_trunk: bool = True
    trunk_rate: float = 0.3
    weight_decay: float = 0.02
    warm_up: float = 0.02
    dice: float = 0.5
    ema: float = 0.998

    @classmethod
    def from_yaml(cls, path: Path) -> CompactRecipe:
        """The recipe in a file; unknown keys are an error that names them."""
        values = yaml.safe_load(path.read_text()) or {}
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise SystemExit(
                f"{path} has unknown keys {sorted(unknown)}; known are {[f.name for f in fields(cls)]}"
            )
        if "phases" in values:
            values["phases"] = tuple((float(a), int(b), int(c)) for a, b, c in values["phases"])
        return cls(**values)


def tiny_config(recipe: CompactRecipe) -> PartFPNConfig:
    """A network for all words of the recipe's level, its pairs without those held out."""
    pairs = pairs_of(recipe.level)
    return PartFPNConfig(
        objects=tuple(dict.fromkeys(name for name, _ in pairs)),
        parts=tuple(sorted({part for _, part in pairs})),
        object_parts=tuple(pair for pair in pairs if pair not in HELD_OUT_PAIRS),
        trunk=recipe.trunk,
    )


class CompactTraining(L.LightningModule):
    """Dense cross entropy and Dice on the three softmaxes."""

    def __init__(
        self,
        config: PartFPNConfig,
        recipe: CompactRecipe,
        folders: Sequence[SceneCrops],
        timer: Timer,
        seconds: float,
    ) -> None:
        super().__init__()
        table = LabelTable.of(config, max((crops.scenes.pairs for crops in folders), key=len))
        self.model = PartFPN(config).to(memory_format=torch.channels_last)
        self.model.trunk.load_state_dict(imagenet_weights(config.trunk))
        if recipe.light_trunk:
            subsample_convolutions(self.model.trunk)
        self.recipe = recipe
        self.folders, self.timer, self.seconds = folders, timer, seconds
        self.stride = recipe.phases[0][2]
        for name in ("objects", "parts", "pairs"):
            self.register_buffer(
                f"table_{name}", torch.from_numpy(getattr(table, name)), persistent=False
            )

    def labels(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pair ids int64 [B, H, W] -> rows of the three softmaxes."""
        return self.table_objects[ids], self.table_parts[ids], self.table_pairs[ids]

    def losses(self, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """(cross entropy, Dice loss), each a sum over the softmaxes."""
        pixels = (images * 2 - 1).to(memory_format=torch.channels_last)
        scores = self.model.scores(pixels)
        stride = self.stride
        coarse = ids[:, stride // 2 :: stride, stride // 2 :: stride]
        entropy = dice = torch.zeros((), device=images.device)
        for score, label in zip(scores, self.labels(coarse), strict=True):
            if score.shape[-2:] != label.shape[-2:]:
                score = F.interpolate(score, size=label.shape[-2:], mode="bilinear")
            log_probability = score.float().log_softmax(1)
            entropy = entropy + F.nll_loss(log_probability, label, ignore_index=IGNORE)
            dice = dice + dice_loss(log_probability.exp(), label)
        return entropy, dice

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        entropy, dice = self.losses(relight(batch[0]), batch[1])
        self.log_dict({"train/entropy": entropy, "train/dice": dice}, prog_bar=True)
        return entropy + self.recipe.dice * dice

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, ids = batch
        objects, parts, _ = self.model.scores(images.float() / 127.5 - 1)
        names = zip(("object", "part"), (objects, parts), self.labels(ids)[:2], strict=True)
        for name, score, label in names:
            size = label.shape[-2:]
            guess = F.interpolate(score.float(), size=size, mode="bilinear").argmax(1)
            self.log(
                f"val/{name}_miou", scene_miou(guess, label), prog_bar=True, batch_size=len(images)
            )

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        recipe, groups = self.recipe, []
        for inside, rate in ((True, recipe.trunk_rate), (False, 1.0)):
            own = [p for n, p in self.model.named_parameters() if n.startswith("trunk") == inside]
            for heavy, decay in ((True, recipe.weight_decay), (False, 0.0)):
                chosen = [p for p in own if (p.ndim > 1) == heavy and p.requires_grad]
                rate_of_group = recipe.learning_rate * rate
                groups.append(
                    {"params": chosen, "peak": rate_of_group, "lr": 0.0, "weight_decay": decay}
                )
        return torch.optim.AdamW(groups)

    def on_train_batch_start(self, *_: object) -> None:
        used = min(1.0, self.timer.time_elapsed("train") / self.seconds)
        warm = min(1.0, used / self.recipe.warm_up)
        fall = 0.5 * (1 + torch.cos(torch.tensor(used * torch.pi))).item()
        for group in self.optimizers().optimizer.param_groups:
            group["lr"] = group["peak"] * warm * max(fall, 1e-3)
        shares = torch.tensor([phase[0] for phase in self.recipe.phases]).cumsum(0)
        phase = min(int((shares < used).sum()), len(self.recipe.phases) - 1)
        _, size, self.stride = self.recipe.phases[phase]
        for folder in self.folders:
            folder.size = size


def dice_loss(probability: Tensor, label: Tensor) -> Tensor:
    """1 - soft Dice, the mean over the classes that the batch shows (Milletari et al., 3DV 2016)."""
    classes = probability.shape[1]
    known = label != IGNORE
    label = label.clamp(min=0)
    hit = probability.gather(1, label[:, None])[:, 0] * known
    overlap = torch.zeros(classes, device=hit.device).index_add(0, label.flatten(), hit.flatten())
    truth = torch.zeros_like(overlap).index_add(0, label.flatten(), known.flatten().to(hit.dtype))
    total = (probability * known[:, None]).sum(dim=(0, 2, 3)) + truth
    shown = truth > 0
    shown[0] = False
    losses = 1 - 2 * overlap / total.clamp(min=1e-6)
    return (losses * shown).sum() / shown.sum().clamp(min=1)


def scene_miou(guess: Tensor, label: Tensor) -> Tensor:
    """IoU of each (scene, class shown) pair, averaged: what a query about that scene gets."""
    ious = []
    for row, truth in zip(guess, label, strict=True):
        row = torch.where(truth == IGNORE, IGNORE, row)
        for value in truth.unique():
            if value > 0:
                union = ((row == value) | (truth == value)).sum()
                ious.append(((row == value) & (truth == value)).sum() / union)
    return torch.stack(ious).mean()


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    args = _parser().parse_args(argv)
    L.seed_everything(0)
    recipe = CompactRecipe.from_yaml(args.config)
    config, timer = tiny_config(recipe), Timer({"minutes": args.minutes}, interval="step")
    size, augment = recipe.phases[0][1], not args.overfit
    folders = [SceneCrops(RenderedScenes(f), size, augment=augment) for f in args.data]
    module = CompactTraining(config, recipe, folders, timer, args.minutes * 60)
    scenes: Dataset[tuple[Tensor, Tensor]] = ConcatDataset(folders)
    if args.overfit:
        scenes = Subset(scenes, range(args.overfit))
    val = SceneCrops(RenderedScenes(args.val), 192, augment=False)
    val = Subset(val, range(min(128, len(val))))
    _trainer(args.out, recipe, timer).fit(
        module,
        DataLoader(scenes, recipe.batch, shuffle=True, drop_last=True),
        DataLoader(val, 32),
        ckpt_path=args.out / "last.ckpt" if args.resume else None,
    )


def _trainer(out: Path, recipe: CompactRecipe, timer: Timer) -> L.Trainer:
    every_5_minutes = ModelCheckpoint(
        out, save_last=True, save_top_k=0, train_time_interval=timedelta(minutes=5)
    )
    return L.Trainer(
        max_epochs=-1,
        accelerator="auto",
        precision="bf16-mixed",
        callbacks=[timer, every_5_minutes, EMAWeightAveraging(decay=recipe.ema)],
        logger=TensorBoardLogger(out, name="", version=""),
        default_root_dir=out,
        gradient_clip_val=1.0,
        log_every_n_steps=20,
        val_check_interval=250,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        help="rendered training scenes (`ovps render`)",
    )
    parser.add_argument("--val", type=Path, required=True, help="rendered scenes of the split val")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints and TensorBoard logs")
    parser.add_argument(
        "--config", type=Path, default=Path("training/config/compact/ovps-tiny.yaml")
    )
    parser.add_argument(
        "--minutes", type=float, default=80.0, help="time to train, all runs together"
    )
    parser.add_argument("--resume", action="store_true", help="go on from OUT/last.ckpt")
    parser.add_argument(
        "--overfit", type=int, default=0, help="train on that many scenes only, to find faults"
    )
    return parser


if __name__ == "__main__":
    main()
