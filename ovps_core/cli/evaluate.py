"""``ovps evaluate``: measure a model on a benchmark, a folder of labelled photographs, or rendered scenes."""

from __future__ import annotations

import argparse
from pathlib import Path

from ovps_core.cli import HelpFormatter
from ovps_core.cli.options import add_model_options, open_segmenter
from ovps_core.datasets.ade20k_part import ADE20KPart234
from ovps_core.datasets.benchmark_reader import BenchmarkReader
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.partimagenet import PartImageNet
from ovps_core.datasets.pascal_part import PascalPart116
from ovps_core.errors import UsageError
from ovps_core.evaluation.benchmark import evaluate_benchmark, predictor
from ovps_core.evaluation.folder import evaluate_folder
from ovps_core.evaluation.gallery import Gallery
from ovps_core.evaluation.protocols import CLEAN, RELEASED, Setting
from ovps_core.evaluation.query_sampler import Synonyms
from ovps_core.evaluation.rendered import evaluate_rendered, render_test_scenes
from ovps_core.evaluation.result_tables import (
    benchmark_heading,
    benchmark_table,
    class_table,
    folder_table,
    pairs_table,
    refused_lines,
    rendered_table,
    write_json,
)
from ovps_core.language.vocabulary import load_vocabulary
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.cache_folder import cache_folder
from ovps_core.synthetic.reader import RenderedScenes
from ovps_core.synthetic.settings import LEVELS

READERS: dict[str, type[BenchmarkReader]] = {
    reader.name: reader for reader in (PascalPart116, ADE20KPart234, PartImageNet)
}
SETTINGS = {"both": tuple(Setting), **{setting.value: (setting,) for setting in Setting}}
REFUSED_SHOWN = 8
LAYOUTS = "\n".join(reader.layout for reader in READERS.values())
EPILOG = f"""\
benchmarks, unpacked under ROOT:
{LAYOUTS}

folder: DIR holds images and a COCO annotations.json whose categories have "object" and "part" (either may be
  empty) and whose annotations have a segmentation (polygons or run lengths) or a "mask" PNG. Every category
  is queried in every image. Images that have it score the mask, the others score false alarms.

rendered: scenes with shapes and seeds that training never sees, rendered now or read from --scenes. The queries
  are all object parts with at least 50 pixels in a 224 x 224 picture, all objects and all parts alone, absent
  objects, and parts that an object does not have. Object parts under 150 pixels are also counted as small.

examples:
  ovps evaluate pascal_part_116 --model partclipseg.safetensors --root ~/datasets --json figures.json
  ovps evaluate folder my_photos --model ovps-tiny --report page
  ovps evaluate rendered --level tabletop --model ovps-tiny
"""


class _Help(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the epilog."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``ovps evaluate``."""
    parser.formatter_class = _Help
    parser.epilog = EPILOG
    names = ", ".join(READERS)
    parser.add_argument(
        "dataset",
        choices=[*READERS, "folder", "rendered"],
        metavar="DATASET",
        help=f"one of {names}; or: folder DIR; or: rendered",
    )
    parser.add_argument(
        "directory", nargs="?", type=Path, metavar="DIR", help="the folder, after 'folder'"
    )
    add_model_options(parser)
    parser.add_argument(
        "--root",
        type=Path,
        help="folder of the benchmarks; by default $DETECTRON2_DATASETS, else ./datasets",
    )
    parser.add_argument(
        "--setting",
        choices=list(SETTINGS),
        default="both",
        help="what the model is given: nothing (pred-all), or the objects in the picture (oracle-obj)",
    )
    parser.add_argument(
        "--released",
        action="store_true",
        help="emulate the released PartCLIPSeg evaluation, to compare with published numbers: labels moved "
        "by a pixel, items without parts replaced at random, its own boundary figure",
    )
    _add_rendered_arguments(parser.add_argument_group("rendered scenes"))
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="only the first N items; 0 for all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores to this file")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write a page with the best and worst pictures into this folder",
    )


def _add_rendered_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--level", choices=LEVELS, default="tabletop", help="kind of scenes")
    group.add_argument("--count", type=int, default=512, help="number of scenes")
    group.add_argument(
        "--seed", type=int, default=0, help="seed of the scenes; the shapes stay the same"
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
    if (args.dataset == "folder") != (args.directory is not None):
        raise UsageError(
            "Say 'ovps evaluate folder DIR', or the name of a benchmark alone with --root."
        )
    runners = {"folder": _run_folder, "rendered": _run_rendered}
    return runners.get(args.dataset, _run_benchmark)(args, open_segmenter(args))


def _run_benchmark(args: argparse.Namespace, segmenter: PartSegmenter) -> int:
    reader = READERS[args.dataset](args.root)
    gallery = Gallery(reader.vocabulary.object_part_names)
    result = evaluate_benchmark(
        reader,
        predictor(segmenter, reader.vocabulary),
        settings=SETTINGS[args.setting],
        protocol=RELEASED if args.released else CLEAN,
        limit=args.limit,
        model=segmenter.name,
        trained_on=_trained_on(segmenter),
        on_item=gallery.add_item if args.report else None,
    )
    print(benchmark_heading(result))
    print(benchmark_table(result))
    for figures in result.settings:
        print("\n" + class_table(figures))
    if args.json:
        write_json(args.json, result.as_dict())
    if args.report:
        tables = [
            benchmark_table(result, "html"),
            *(class_table(f, "html") for f in result.settings),
        ]
        print(f"Report: {gallery.write(args.report, benchmark_heading(result), tables)}")
    return 0


def _trained_on(segmenter: PartSegmenter) -> str:
    """The benchmark whose training classes the weights were trained on; "" if it is none of them."""
    trained = segmenter.spec.trained_object_parts
    seen = {name: load_vocabulary(name).seen().object_parts for name in READERS}
    return next((name for name in seen if seen[name] == trained), "")


def _run_folder(args: argparse.Namespace, segmenter: PartSegmenter) -> int:
    gallery = Gallery()
    result = evaluate_folder(
        CocoFolder(args.directory),
        segmenter,
        limit=args.limit,
        model=segmenter.name,
        on_answer=gallery.add_answer if args.report else None,
    )
    heading = f"{segmenter.name} on {result.directory}: {result.images} images"
    print(heading)
    print(folder_table(result))
    if result.refused:
        print("\n" + refused_lines(result.refused))
    if args.json:
        write_json(args.json, result.as_dict())
    if args.report:
        print(f"Report: {gallery.write(args.report, heading, [folder_table(result, 'html')])}")
    return 0


def _run_rendered(args: argparse.Namespace, segmenter: PartSegmenter) -> int:
    if args.scenes is None:
        folder = cache_folder() / "rendered" / f"{args.level}-test-{args.seed}"
        scenes = render_test_scenes(args.level, args.count, args.seed, folder)
    else:
        scenes = RenderedScenes(args.scenes)
        if scenes.settings["level"] != args.level:
            raise UsageError(
                f"{args.scenes} holds {scenes.settings['level']} scenes, not {args.level}. "
                f"Use --level {scenes.settings['level']}."
            )
    gallery = Gallery()
    result = evaluate_rendered(
        scenes,
        segmenter,
        count=args.count,
        synonyms=Synonyms.read(args.synonyms) if args.synonyms else None,
        on_answer=gallery.add_answer if args.report else None,
    )
    heading = f"{result.model} on {result.scenes} {result.dataset}"
    print(f"{heading}\n{rendered_table(result)}\n\n{pairs_table(result)}")
    if result.refused:
        often = sorted(result.refused, key=lambda text: -result.refused[text])[:REFUSED_SHOWN]
        total = sum(result.refused.values())
        print(f"\nRefused, counted as no answer: {total} queries; most often {', '.join(often)}")
    if args.json:
        write_json(args.json, result.as_dict())
    if args.report:
        tables = [rendered_table(result, "html"), pairs_table(result, "html")]
        print(f"Report: {gallery.write(args.report, heading, tables)}")
    return 0
