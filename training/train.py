"""Train a model from a recipe: ``python -m training.train RECIPE --data PATH``.

The recipe's ``type`` selects the model family; see :mod:`training.families`. ``--help`` answers without PyTorch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from ovps_core.errors import OvpsError, UsageError
from ovps_core.structures.requirements import require_packages
from training import PACKAGES
from training.new_objects import RECIPE as OBJECTS_RECIPE
from training.new_objects import add_object_options, is_data, object_overrides
from training.recipe import RECIPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments, for this module's own parser or for a subcommand."""
    names = ", ".join(path.stem for path in sorted(RECIPES.glob("*/*.yaml")))
    parser.add_argument(
        "recipe",
        nargs="*",
        help=f"a YAML file, or the name of one of: {names.replace('%', '%%')}; with --from also the data",
    )
    parser.add_argument("--config", metavar="RECIPE", help="the recipe, given as an option")
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="partclipseg: the folder that holds the benchmark's folder (default $DETECTRON2_DATASETS, "
        "else ./datasets), or a COCO file such as DIR/train.json; partcatseg, catseg: the same, or a folder of "
        "rendered scenes; openseed: COCO instance or panoptic files; "
        "compact: folders of rendered scenes or of labelled photographs",
    )
    parser.add_argument(
        "--val",
        type=Path,
        metavar="PATH",
        help="scored during training; compact: rendered scenes of the split val, or labelled pictures, which are "
        "also evaluated at the end; openseed: a COCO file",
    )
    parser.add_argument(
        "--out", "--output", type=Path, default=Path("runs"), help="the run's folder is OUT/NAME"
    )
    parser.add_argument(
        "--devices",
        type=int,
        default=0,
        metavar="N",
        help="processes on this machine; 0 for one on each GPU, or one on the CPU",
    )
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="machines")
    parser.add_argument(
        "--checkpoint-minutes",
        type=float,
        metavar="M",
        help="time between checkpoints to resume from; 5 minutes without it",
    )
    add_object_options(parser)
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
    require_packages(*PACKAGES, extra="train")
    import torch

    from training.families import load_recipe
    from training.run import DataSources, Launch
    from training.train_model import train_model

    name, data = _recipe_and_data(args)
    overrides = object_overrides(args, data, all_labelled=name == OBJECTS_RECIPE)
    if args.objects:
        overrides.append(f"name={'-'.join(args.objects).replace(' ', '-')}")
    recipe = load_recipe(name, [*overrides, *args.set])
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
    sources = DataSources(tuple(data), args.val)
    every = args.checkpoint_minutes
    launch = Launch(args.devices, args.nodes, None if every is None else timedelta(minutes=every))
    train_model(recipe, sources, args.out / recipe.name, resume=args.resume, launch=launch)
    return 0


def _recipe_and_data(args: argparse.Namespace) -> tuple[str, list[Path]]:
    """The recipe, and all data; with ``--from`` the data may stand without ``--data``, and a recipe is at hand."""
    given = [*args.recipe, *([args.config] if args.config else [])]
    data = [Path(word) for word in given if args.start and is_data(Path(word))]
    recipes = [word for word in given if Path(word) not in data]
    if args.start and not recipes:
        recipes = [OBJECTS_RECIPE]
    if len(recipes) != 1:
        raise UsageError("give one recipe: a YAML file, or the name of one (see --help)")
    return recipes[0], [*data, *args.data]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; an error that a person can act on is one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train a model from a recipe. Weights, curves and pictures go to OUT/NAME.",
        epilog="Every key of a recipe is described in training/recipe.py and training/FAMILY/recipe.py. "
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
