"""Train a model from a recipe: ``python -m training.train RECIPE --data PATH``.

The recipe's ``type`` selects the model family; see :mod:`training.families`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning as L
import torch
import yaml

from ovps_core.checkpoints import save_model
from ovps_core.errors import OvpsError, UsageError
from training.families import FAMILIES, load_recipe
from training.recipe import RECIPES, Recipe, as_dict
from training.report import Curve, first_and_last, join_curves, plot_curves, read_curves
from training.run import DataSources, LastScore, TrainingRun, make_trainer

LAST = "last.ckpt"
"""Checkpoint in a run's folder from which the run can be resumed."""


def train(
    recipe: Recipe, sources: DataSources, folder: Path, *, resume: bool = False
) -> dict[str, float]:
    """Train one model; the weights are written to ``folder/model.safetensors``.

    Args:
        recipe: every number of the run.
        sources: the data.
        folder: the run's folder: weights, recipe, curves, logs and checkpoints.
        resume: continue from the folder's last checkpoint.

    Returns:
        The last scores by name; empty if there is no image to score on, or no step was left to train.

    Raises:
        UsageError: there is nothing to resume, or the family takes other sources.
        DatasetError: data are missing or malformed.
        CheckpointError: the weights to start from are missing or damaged.
    """
    last = folder / LAST
    if resume and not last.is_file():
        raise UsageError(f"nothing to resume: {last} does not exist; leave out --resume")
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    prepared = FAMILIES[recipe.family].prepare(recipe, sources)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(as_dict(recipe), sort_keys=False))
    last_score = LastScore()
    trainer = make_trainer(prepared, folder, last_score)
    metrics = folder / "csv" / "metrics.csv"
    # Read before training, because the logger overwrites the file.
    earlier = read_curves(metrics) if resume and metrics.is_file() else {}
    trainer.fit(
        prepared.module, prepared.images, ckpt_path=last if resume else None, weights_only=True
    )
    if prepared.scored_on and last_score.outdated:
        trainer.validate(prepared.module, prepared.images, verbose=False)
    scores = {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("score/")
    }
    if trainer.is_global_zero:
        later = read_curves(metrics) if metrics.is_file() else {}
        _write_results(prepared, folder, scores, join_curves(earlier, later))
    return scores


def _write_results(
    prepared: TrainingRun, folder: Path, scores: Mapping[str, float], curves: Mapping[str, Curve]
) -> None:
    """Write weights, curves and pictures to the run's folder and print a summary."""
    tensors, info = prepared.result()
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    info = save_model(folder / "model.safetensors", state, info)
    shown = {name: curves[name] for name in prepared.curves if name in curves}
    if shown:
        plot_curves(shown, folder / "curves.png")
    for name, curve in shown.items():
        if name.startswith("loss/"):
            first, last = first_and_last(curve)
            print(f"{name:<18} first {first:.4f}  last {last:.4f}")
    for name, value in scores.items():
        print(f"{name:<28} {value:.4f}  (on the {prepared.scored_on} images)")
    prepared.draw(folder / "answers.png")
    print(f"{info} in {folder}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments, for this module's own parser or for a subcommand."""
    names = ", ".join(path.stem for path in sorted(RECIPES.glob("*/*.yaml")))
    parser.add_argument(
        "recipe", nargs="?", help=f"a YAML file, or the name of one of: {names.replace('%', '%%')}"
    )
    parser.add_argument("--config", metavar="RECIPE", help="the recipe, given as an option")
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="partclipseg: the folder that holds the benchmark's folder (default $DETECTRON2_DATASETS, "
        "else ./datasets), or a COCO file such as DIR/train.json; compact: folders of rendered scenes",
    )
    parser.add_argument(
        "--val", type=Path, metavar="PATH", help="compact: rendered scenes of the split val"
    )
    parser.add_argument(
        "--out", "--output", type=Path, default=Path("runs"), help="the run's folder is OUT/NAME"
    )
    parser.add_argument("--resume", action="store_true", help="continue from OUT/NAME/last.ckpt")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="replace values of the recipe, for example --set optim.batch=4 data.workers=0",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command with parsed arguments.

    Raises:
        OvpsError: the recipe, the data or the arguments cannot be used.
    """
    name = args.recipe or args.config
    if not name or (args.recipe and args.config):
        raise UsageError("give one recipe: a YAML file, or the name of one (see --help)")
    recipe = load_recipe(name, args.set)
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
    sources = DataSources(tuple(args.data), args.val)
    train(recipe, sources, args.out / recipe.name, resume=args.resume)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; an error that a person can act on is one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train a model from a recipe. Weights, curves and pictures go to OUT/NAME.",
        epilog="Every key of a recipe is described in training/FAMILY/recipe.py. "
        "Watch a run with: tensorboard --logdir OUT.",
    )
    add_arguments(parser)
    try:
        return run(parser.parse_args(arguments))
    except OvpsError as error:
        print(f"training: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
