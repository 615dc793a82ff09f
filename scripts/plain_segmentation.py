"""A plain segmentation network beside a PartCLIPSeg: the same pictures, trunk, batches, steps and scores.

    python -m scripts.plain_segmentation RECIPE --data DIR/train.json --set optim.seed=1

The network is a feature pyramid with one softmax over all parts. It knows neither words nor objects. RECIPE is
that of the PartCLIPSeg; of its model only the trunk and the size of the pictures are read. The scores are printed
and written to OUT/NAME/csv. Results are in docs/notebook/attention_losses.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig

from ovps_core.errors import OvpsError, UsageError
from ovps_core.language.vocabulary import IGNORE, Vocabulary
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.models.compact.model import PartFPN
from ovps_core.models.interface import PartLogits
from training.backbone import imagenet_weights
from training.clipseg.module import decay
from training.clipseg.recipe import OptimRecipe
from training.data import PartImagesModule, open_data
from training.families import load_recipe
from training.optimiser import scheduled
from training.part_training import Batch, PartTraining, TotalLoss
from training.partclipseg.recipe import PartCLIPSegRecipe


class PlainTraining(PartTraining):
    """Cross entropy over all parts and the background; a pixel without a part label is background.

    Args:
        model: of its three softmaxes only that over (object, part) classes is trained.
        vocabulary: the classes.
        optim: optimiser and schedule.
    """

    model: PartFPN

    def __init__(self, model: PartFPN, vocabulary: Vocabulary, optim: OptimRecipe) -> None:
        super().__init__(vocabulary)
        self.model = model
        self.optim = optim

    def losses(self, batch: Batch, *, scoring: bool = False) -> tuple[TotalLoss, PartLogits]:
        """See :meth:`PartTraining.losses`."""
        pixels, object_parts, _ = batch
        scores = self.model.scores(pixels)[2].roll(-1, dims=1)  # the background comes last here
        maps = F.interpolate(scores, object_parts.shape[-2:], mode="bilinear")
        labels = torch.where(object_parts == IGNORE, maps.shape[1] - 1, object_parts)
        return TotalLoss(F.cross_entropy(maps, labels)), PartLogits(maps[:, :0], maps)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with the recipe's schedule."""
        optim = self.optim
        optimizer = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=optim.lr,
            weight_decay=optim.weight_decay,
        )
        return scheduled(optimizer, optim.warmup, decay(optim))


def train(recipe: PartCLIPSegRecipe, data: Path, folder: Path) -> dict[str, float]:
    """Train the plain network of a recipe; returns the scores on the validation images by name.

    Raises:
        UsageError: the recipe names no trunk from timm.
        DatasetError: images or labels are missing or malformed.
    """
    if not recipe.model.backbone:
        raise UsageError("the plain network needs a trunk from timm: set model.backbone")
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    opened = open_data(recipe.data, data)
    vocabulary, side = opened.vocabulary, recipe.model.image_size
    config = PartFPNConfig(
        vocabulary.objects_with_parts,
        vocabulary.parts,
        vocabulary.object_parts,
        size=(side, side),
        trunk=recipe.model.backbone,
    )
    model = PartFPN(config)
    if recipe.model.backbone_pretrained:
        model.trunk.load_state_dict(imagenet_weights(config.trunk))
    if not recipe.model.train_towers:
        model.trunk.requires_grad_(False).eval()
    images = PartImagesModule(
        opened,
        recipe.data,
        config.spec.preprocessing,
        batch=recipe.optim.batch,
        seed=recipe.seed,
        score_on="val",
        rgb=True,
        unshifted=True,
    )
    trainer = L.Trainer(
        max_steps=recipe.optim.steps,
        gradient_clip_val=recipe.optim.clip_norm or None,
        precision=recipe.optim.precision,
        logger=CSVLogger(folder, name="", version="csv"),
        enable_checkpointing=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
    )
    module = PlainTraining(model, vocabulary, recipe.optim)
    trainer.fit(module, images)
    trainer.limit_val_batches = 1.0
    (scores,) = trainer.validate(module, images, verbose=False)
    return dict(scores)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; an error that a person can act on is one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m scripts.plain_segmentation")
    parser.add_argument("recipe", help="a recipe of a PartCLIPSeg, by name or file")
    parser.add_argument(
        "--data", type=Path, required=True, help="a COCO file such as DIR/train.json"
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="logs go to OUT/NAME")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="as in training")
    args = parser.parse_args(arguments)
    try:
        recipe = load_recipe(args.recipe, args.set)
        if not isinstance(recipe, PartCLIPSegRecipe):
            raise UsageError(f"{args.recipe} is a recipe of the type {recipe.family}")
        scores = train(recipe, args.data, args.out / recipe.name)
    except OvpsError as error:
        print(f"plain_segmentation: {error}", file=sys.stderr)
        return 1
    for name, value in scores.items():
        print(f"{name:<28} {value:.4f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
