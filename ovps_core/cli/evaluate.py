"""``ovps evaluate``: measure a model on a benchmark, labelled photographs, or rendered scenes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ovps_core.checkpoints.registry import DEFAULT_MODEL, DEFAULT_OBJECT_MODEL
from ovps_core.cli import HelpFormatter
from ovps_core.cli.evaluate_objects import add_object_arguments, run_objects
from ovps_core.cli.evaluate_phrases import (
    PHRASE_BENCHMARKS,
    PHRASE_LAYOUTS,
    add_phrase_arguments,
    run_phrases,
)
from ovps_core.cli.options import add_model_options, add_object_option, at_least
from ovps_core.cli.output import check_inputs_stay
from ovps_core.datasets.object_benchmarks import OBJECT_BENCHMARKS
from ovps_core.datasets.part_benchmarks import PART_BENCHMARKS
from ovps_core.errors import UsageError
from ovps_core.evaluation.protocols import Setting
from ovps_core.synthetic.settings import LEVELS

RENDERED_SCENES = 512
"""Scenes that ``ovps evaluate rendered`` renders without ``--count``."""

LAYOUTS = "\n".join(reader.layout for reader in PART_BENCHMARKS.values())
OBJECT_LAYOUTS = "\n".join(benchmark.layout for benchmark in OBJECT_BENCHMARKS.values())
EPILOG = f"""\
benchmarks, unpacked under ROOT:
{LAYOUTS}
{PHRASE_LAYOUTS}

benchmarks of objects; --model is {DEFAULT_OBJECT_MODEL} there and {DEFAULT_MODEL} elsewhere, the vocabulary that
of the data set:
{OBJECT_LAYOUTS}

folder: DIR holds images and a COCO annotations.json whose categories have "object" and "part" (either may be
  empty) and whose annotations have a segmentation (polygons or run lengths) or a "mask" PNG. Every category
  is queried in every image. Images that have it score the mask, the others score false alarms. Images with
  "neg_category_ids" (LVIS) score false alarms of these categories only.

household: 66 real pictures of doors, drawers, bottles, cups and a table before a depth camera, which come with the
  package; ovps_core/evaluation/household/CREDITS.md gives sources and licences.

rendered: scenes with shapes and seeds that training never sees, rendered now or read from --scenes. The queries
  are all object parts with at least 50 pixels in a 224 x 224 picture, all objects and all parts alone, absent
  objects, and parts that an object does not have. Object parts under 150 pixels are also counted as small.

examples:
  ovps evaluate pascal_part_116 --model partclipseg.safetensors --root ~/datasets --json figures.json
  ovps evaluate coco ~/datasets/coco --task panoptic --model openseed-swint --json figures.json
  ovps evaluate folder my_photos --model ovps-tiny --report page
  ovps evaluate household --model ovps-tiny
  ovps evaluate rendered --level tabletop --model ovps-tiny
"""


class _Help(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the epilog."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``ovps evaluate``."""
    parser.formatter_class = _Help
    parser.epilog = EPILOG
    names, objects = ", ".join([*PART_BENCHMARKS, *PHRASE_BENCHMARKS]), ", ".join(OBJECT_BENCHMARKS)
    others = ["folder", "household", "rendered"]
    parser.add_argument(
        "dataset",
        choices=[*PART_BENCHMARKS, *PHRASE_BENCHMARKS, *OBJECT_BENCHMARKS, *others],
        metavar="DATASET",
        help=f"one of {names}; or: {objects}, each with DIR; or: folder DIR; or: household; or: rendered",
    )
    parser.add_argument(
        "directory",
        nargs="?",
        type=Path,
        metavar="DIR",
        help="the folder of the pictures or of the data set",
    )
    add_model_options(parser)
    parser.set_defaults(model="")  # benchmarks of objects have another default
    add_object_option(parser)
    parser.add_argument(
        "--root",
        type=Path,
        help="folder of the benchmarks; by default $DETECTRON2_DATASETS, else ./datasets",
    )
    parser.add_argument(
        "--setting",
        choices=["both", *(setting.value for setting in Setting)],
        default="both",
        help="what the model is given: nothing (pred-all), or the objects in the picture (oracle-obj)",
    )
    parser.add_argument(
        "--released",
        action="store_true",
        help="emulate the released evaluation of the model's paper, to compare with published numbers. "
        "PartCLIPSeg: labels moved by a pixel, items without parts replaced at random, its own boundary figure. "
        "PartCATSeg and CAT-Seg: also its own pixels, object match by substring, and means without missed classes",
    )
    add_object_arguments(parser.add_argument_group("benchmarks of objects"))
    add_phrase_arguments(parser)
    _add_folder_arguments(parser.add_argument_group("a folder of photographs"))
    _add_rendered_arguments(parser.add_argument_group("rendered scenes"))
    parser.add_argument(
        "--limit",
        type=at_least(0),
        default=0,
        metavar="N",
        help="only the first N items; 0 for all",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores to this file")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write a page with the best and worst pictures into this folder",
    )


def _add_folder_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--object",
        default="",
        metavar="NAME",
        help="the object whose parts the categories are, if they have only a name",
    )
    group.add_argument(
        "--skip-broken",
        action="store_true",
        help="leave out broken images and annotations, list them, and score the rest",
    )
    group.add_argument(
        "--pseudo-labels",
        action="store_true",
        help="score against masks that a model made, such as those of `ovps bag extract --masks` or "
        "`ovps annotate boxes`; also for benchmarks of objects",
    )
    group.add_argument(
        "--labelled-only",
        action="store_true",
        help="leave out pictures that nobody has submitted with `ovps label`",
    )


def _add_rendered_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--level", choices=LEVELS, help="kind of scenes; tabletop, or that of --scenes, without it"
    )
    group.add_argument(
        "--count",
        type=at_least(1),
        help=f"number of scenes; all of --scenes, or {RENDERED_SCENES} rendered ones, without it",
    )
    group.add_argument(
        "--seed", type=at_least(0), default=0, help="seed of the scenes; the shapes stay the same"
    )
    group.add_argument(
        "--scenes",
        type=Path,
        metavar="DIR",
        help="use scenes that `ovps render --split test` wrote",
    )
    group.add_argument(
        "--synonyms",
        type=Path,
        metavar="FILE",
        help="YAML file of synonyms to query: keys objects and parts, lines like `handle: [lever]`",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, write the files.

    Raises:
        OvpsError: the arguments, the data or the model cannot be used; the message says what to do.
    """
    if (args.dataset in ("folder", *OBJECT_BENCHMARKS)) != (args.directory is not None):
        raise UsageError(
            "Say 'ovps evaluate folder DIR', or coco, lvis, objects365 or ade20k with DIR, or the name of another "
            "benchmark alone with --root."
        )
    _check_outputs(args)
    if args.dataset in OBJECT_BENCHMARKS:
        return run_objects(args)
    args.model = args.model or DEFAULT_MODEL
    if args.dataset in PHRASE_BENCHMARKS:
        return run_phrases(args)
    if args.dataset in PART_BENCHMARKS:
        from ovps_core.cli.evaluate_benchmark import run_benchmark  # imports PyTorch

        return run_benchmark(args)
    from ovps_core.cli.evaluate_pictures import run_pictures  # slow to import

    return run_pictures(args)


def _check_outputs(args: argparse.Namespace) -> None:
    """Check that the scores are written neither onto the model nor onto a file of the data.

    Raises:
        UsageError: they are.
    """
    page = args.report and args.report / "index.html"
    check_inputs_stay([args.json, page], [Path(args.model), args.synonyms, args.directory])
    if args.json is None or not args.json.is_file() or _are_scores(args.json):
        return
    for folder in (args.directory, args.scenes, args.root):
        within = folder and (folder if folder.is_dir() else folder.parent).resolve()
        if within and args.json.resolve().is_relative_to(within):
            raise UsageError(
                f"--json {args.json} would replace a file of {folder}, which is read; give another name"
            )


def _are_scores(path: Path) -> bool:
    """Return True for a file that ``--json`` wrote."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"dataset", "model"} <= set(content)
