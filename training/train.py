"""Train PartCLIPSeg from a recipe: ``python -m training.train --config training/config/NAME.yaml``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
import yaml
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from ovps_core.checkpoints import CheckpointInfo, save_model
from ovps_core.errors import OvpsError
from training.data import PartImagesModule, open_data
from training.partclipseg.module import PartCLIPSegTraining
from training.partclipseg.network import build_network
from training.recipe import RECIPES, Recipe, RecipeError, as_dict, load_recipe
from training.report import (
    Curve,
    draw_answers,
    first_and_last,
    join_curves,
    plot_curves,
    read_curves,
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; an error that a person can act on is one line on stderr."""
    args = _parser().parse_args(arguments)
    try:
        train(load_recipe(args.config), args.data, args.output, resume=args.resume)
    except OvpsError as error:
        print(f"training: {error}", file=sys.stderr)
        return 1
    return 0


def train(
    recipe: Recipe, data_path: Path | None, output: Path, *, resume: bool = False
) -> dict[str, float]:
    """One run from data to ``output/NAME/model.safetensors``.

    Args:
        recipe: every number.
        data_path: see :func:`training.data.open_data`.
        output: the run's folder is made inside.
        resume: go on from the run's last checkpoint.

    Returns:
        The last scores; empty without images to score on.
    """
    pl.seed_everything(recipe.optim.seed, workers=True, verbose=False)
    folder = output / recipe.name
    last = folder / "last.ckpt"
    if resume and not last.is_file():
        raise RecipeError(f"nothing to resume: {last} does not exist; leave out --resume")
    data = open_data(recipe.data, data_path)
    model, query_encoder = build_network(recipe.model, recipe.corrections, data.vocabulary)
    training = PartCLIPSegTraining(
        model,
        query_encoder.text_encoder,
        data.vocabulary,
        recipe.optim,
        recipe.losses,
        train_towers=recipe.model.train_towers,
    )
    images = PartImagesModule(data, recipe, model.spec.preprocessing)
    scored = len(images.score_images) > 0
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(as_dict(recipe), sort_keys=False))
    trainer = _trainer(recipe, folder, scored=scored)
    metrics = folder / "csv" / "metrics.csv"
    # Read now, for the logger starts a new file.
    earlier = read_curves(metrics) if resume and metrics.is_file() else {}
    trainer.fit(training, images, ckpt_path=last if resume else None, weights_only=True)
    scores = {}
    if scored:
        trainer.validate(training, images, verbose=False)
        scores = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("score/")
        }
    if trainer.is_global_zero:
        curves = join_curves(earlier, read_curves(metrics))
        _finish(recipe, training, images, folder, scores, curves)
    return scores


class _Progress(TQDMProgressBar):
    """Lightning's bar without the name of its logger."""

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        items = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in items.items() if name != "v_num"}


def _trainer(recipe: Recipe, folder: Path, *, scored: bool) -> pl.Trainer:
    optim = recipe.optim
    callbacks: list[Callback] = [
        ModelCheckpoint(
            folder,
            save_last=True,
            save_top_k=0,
            every_n_train_steps=min(1000, optim.steps),
            enable_version_counter=False,
        ),
        LearningRateMonitor("step"),
        _Progress(refresh_rate=10),
    ]
    if optim.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=optim.ema_decay))
    every = optim.score_every or optim.steps
    return pl.Trainer(
        max_steps=optim.steps,
        # random towers are trained whole, also layers that no tap reads
        strategy="ddp_find_unused_parameters_true" if torch.cuda.device_count() > 1 else "auto",
        precision=optim.precision,  # type: ignore[arg-type]
        gradient_clip_val=optim.clip_norm or None,
        callbacks=callbacks,
        logger=[
            TensorBoardLogger(folder, name="", version="tensorboard"),
            CSVLogger(folder, name="", version="csv"),
        ],
        log_every_n_steps=min(10, optim.steps),
        check_val_every_n_epoch=None,
        val_check_interval=min(every, optim.steps),
        limit_val_batches=None if scored else 0,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        enable_model_summary=False,
    )


def _finish(
    recipe: Recipe,
    training: PartCLIPSegTraining,
    images: PartImagesModule,
    folder: Path,
    scores: dict[str, float],
    curves: dict[str, Curve],
) -> None:
    """Weights, curves and pictures into the run's folder, and a few lines for the person."""
    text = {f"text.{n}": t for n, t in training.text_encoder.state_dict().items()}
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in (training.model.state_dict() | text).items()
    }
    info = CheckpointInfo(recipe.name, "partclipseg", training.model.config, source="training")
    info = save_model(folder / "model.safetensors", state, info)
    plot_curves(curves, folder / "curves.png")
    for name in ("loss/total", "loss/separation", "loss/enhancement"):
        first, last = first_and_last(curves[name])
        print(f"{name:<18} first {first:.4f}  last {last:.4f}")
    for name, value in scores.items():
        print(f"{name:<28} {value:.4f}  (on the {recipe.score_on} images)")
    if len(images.score_images):
        draw_answers(training, images.score_images, folder / "answers.png")
    print(f"{info} in {folder}")


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train PartCLIPSeg. Weights, curves and pictures go to OUTPUT/NAME.",
        epilog=f"Recipes that come along, in {RECIPES.parent.name}/{RECIPES.name}: {names}. Every key they "
        "may hold is described in training/recipe.py. Watch a run: tensorboard --logdir OUTPUT.",
    )
    parser.add_argument("--config", type=Path, required=True, help="the recipe, a YAML file")
    parser.add_argument(
        "--data",
        type=Path,
        help="folder that holds the benchmark's folder (default $DETECTRON2_DATASETS, else ./datasets), "
        "or a COCO file such as DIR/train.json",
    )
    parser.add_argument("--output", type=Path, default=Path("runs"), help="default: runs")
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT/NAME/last.ckpt")
    return parser


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    raise SystemExit(main())
