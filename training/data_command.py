"""``ovps data show | pack | bench``: look at what a network sees, pack a corpus, measure how fast pictures come.

As a module: ``python -m training.data_command show RECIPE --data PATH``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from ovps_core.cli.options import at_least
from ovps_core.cli.output import check_inputs_stay
from ovps_core.errors import OvpsError, UsageError
from ovps_core.structures.requirements import require_packages
from ovps_core.structures.whole_files import write_whole
from training import PACKAGES

if TYPE_CHECKING:
    from training.recipe import Recipe
    from training.run import TrainingRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="draw training pictures as the network sees them")
    _add_recipe(show)
    show.add_argument("--out", type=Path, default=Path("data.png"), help="the PNG to write")
    show.add_argument("--count", type=at_least(1), default=12, help="number of pictures")
    packing = actions.add_parser("pack", help="write the pictures of a recipe into tar shards")
    _add_recipe(packing)
    packing.add_argument("--out", type=Path, required=True, help="the folder to make")
    packing.add_argument(
        "--shard-megabytes", type=float, default=256.0, help="size at which a new shard begins"
    )
    bench = actions.add_parser("bench", help="measure how fast pictures come, and the memory")
    _add_recipe(bench)
    bench.add_argument(
        "--workers", type=at_least(0), nargs="+", default=[0, 1, 2], help="numbers to compare"
    )
    bench.add_argument("--images", type=at_least(1), default=1000, help="pictures for each number")
    bench.add_argument("--step", action="store_true", help="also measure a training step")


def run(args: argparse.Namespace) -> int:
    """Show, pack or measure.

    Raises:
        OvpsError: the recipe or the data cannot be used, or a file cannot be written.
    """
    require_packages(*PACKAGES, extra="train")
    import lightning as L

    from training.families import FAMILIES, load_recipe
    from training.pictures import draw_samples
    from training.run import DataSources

    recipe = load_recipe(args.recipe, args.set)
    sources = DataSources(tuple(args.data))
    if args.action == "show":
        check_inputs_stay([args.out], [Path(args.recipe), *_files(args.data)])
        L.seed_everything(recipe.seed, workers=True, verbose=False)
        samples = FAMILIES[recipe.family].prepare(recipe, sources).preview()
        write_whole(args.out, draw_samples(list(islice(samples, args.count))))
        print(f"{args.out}: pictures as the network sees them, and their labels")
        return 0
    if args.action == "bench":
        _bench(FAMILIES[recipe.family].prepare(recipe, sources), args)
        return 0
    counts, how = _pack(recipe, sources.single(), args.out, args.shard_megabytes)
    print(tabulate(counts.items(), headers=(str(args.out), "")))
    print(f"train on it with {how}")
    return 0


def _bench(prepared: TrainingRun, args: argparse.Namespace) -> None:
    """Print how fast pictures come, for each number of workers, and how long a step takes."""
    from training.data_bench import measure_input, measure_step

    rows = []
    for workers in args.workers:
        speed = measure_input(prepared.images, prepared.recipe.optim.batch, workers, args.images)
        pace = speed.images_per_second
        figures = [workers, speed.images, pace, pace / max(workers, 1), speed.batch_ms]
        rows.append([*figures, *speed.memory_mb])
    memory = ("MB after 10 %", "50 %", "100 %")
    columns = ("workers", "images", "images/s", "per worker", "ms per batch", *memory)
    print(tabulate(rows, headers=columns, floatfmt=".1f"))
    if args.step:
        device, milliseconds = measure_step(prepared)
        print(
            f"a step of {prepared.recipe.optim.batch} images takes {milliseconds:.1f} ms on {device}"
        )
    print("pictures keep up where a batch takes less time than a step")


def _pack(
    recipe: Recipe, path: Path | None, out: Path, megabytes: float
) -> tuple[Counter[str], str]:
    """Pack the data of a recipe; returns what was packed, and the options to train on it."""
    from training.data import open_data
    from training.openseed.data import open_objects
    from training.openseed.recipe import OpenSeeDRecipe
    from training.openseed.shards import pack_objects
    from training.recipe import DataRecipe
    from training.shards import pack

    data = getattr(recipe, "data", None)
    if isinstance(data, DataRecipe):
        if data.format == "shards":
            raise UsageError("these data are packed already; set data.format to what --data holds")
        found = open_data(data, path)
        counts = pack(found.train, found.vocabulary, out, shard_megabytes=megabytes)
        return counts, f"--data {out} --set data.format=shards"
    if isinstance(recipe, OpenSeeDRecipe):
        if path is None:
            raise UsageError("give the COCO file to pack: --data FILE.json")
        photographs, limit = open_objects(path, recipe.data), recipe.data.limit
        counts = pack_objects(photographs, out, limit=limit, shard_megabytes=megabytes)
        return counts, f"--data {out}"
    raise UsageError(
        f"data of the type {recipe.family} cannot be packed: it maps rendered scenes from the disk and "
        "holds photographs in memory, at most 640 pixels wide or high. Packed are data of the types "
        "partclipseg, partcatseg, catseg and openseed"
    )


def _files(data: Sequence[Path]) -> Iterator[Path]:
    """Pictures and COCO files of folders, and files that are named."""
    for path in data:
        yield path
        for folder in (path, path / "images"):
            yield from folder.glob("*")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a YAML file, or the name of a recipe of `ovps train`")
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="as for `ovps train`")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="as for `ovps train`",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; an error that a person can act on is one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training.data_command", description=__doc__)
    add_arguments(parser)
    try:
        return run(parser.parse_args(arguments))
    except OvpsError as error:
        print(f"data: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
