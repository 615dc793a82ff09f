"""``ovps evaluate`` on pictures: labelled photographs and rendered scenes, one query at a time.

It runs on every engine; the packaged model needs no PyTorch here.
"""

from __future__ import annotations

import argparse
import sys

from ovps_core.cli.evaluate import RENDERED_SCENES
from ovps_core.cli.options import open_segmenter
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import UsageError
from ovps_core.evaluation.folder import evaluate_folder
from ovps_core.evaluation.gallery import Gallery
from ovps_core.evaluation.household import HOUSEHOLD
from ovps_core.evaluation.query_sampler import Synonyms
from ovps_core.evaluation.rendered import evaluate_rendered, render_test_scenes
from ovps_core.evaluation.result_tables import (
    folder_notes,
    folder_table,
    pairs_table,
    refused_lines,
    rendered_table,
)
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.cache_folder import cache_folder
from ovps_core.structures.whole_files import write_json
from ovps_core.synthetic.reader import RenderedScenes
from ovps_core.synthetic.settings import LEVELS

_REFUSED_SHOWN = 8


def run_pictures(args: argparse.Namespace) -> int:
    """Evaluate a model on pictures, print the tables, write the files.

    Raises:
        OvpsError: the data or the model cannot be used.
    """
    run = _run_rendered if args.dataset == "rendered" else _run_folder
    return run(args, open_segmenter(args))


def _run_folder(args: argparse.Namespace, segmenter: PartSegmenter) -> int:
    gallery = Gallery()
    folder = CocoFolder(
        args.directory or HOUSEHOLD,
        object_name=args.object,
        skip_broken=args.skip_broken,
        pseudo_labels=args.pseudo_labels,
        labelled_only=args.labelled_only,
    )
    if folder.unlabelled:
        print(f"{folder.unlabelled} pictures are left out, since nobody has labelled them")
    result = evaluate_folder(
        folder,
        segmenter,
        limit=args.limit,
        on_answer=gallery.add_answer if args.report else None,
    )
    name = result.directory if args.directory else args.dataset
    heading = f"{segmenter.name} on {name}: {result.images} images"
    print(heading)
    print(folder_table(result))
    for note in (*folder_notes(result), refused_lines(result.refused) if result.refused else ""):
        if note:
            print("\n" + note)
    if args.json:
        write_json(args.json, result.as_dict())
    if args.report:
        print(f"Report: {gallery.write(args.report, heading, [folder_table(result, 'html')])}")
    scored = result.queries.metrics()
    if not (scored.present or scored.absent):
        print(
            "ovps evaluate: nothing was scored: no label says whether one of the categories is in a picture",
            file=sys.stderr,
        )
        return 1
    return 0


def _run_rendered(args: argparse.Namespace, segmenter: PartSegmenter) -> int:
    scenes, count = _scenes(args)
    gallery = Gallery()
    result = evaluate_rendered(
        scenes,
        segmenter,
        count=count,
        synonyms=Synonyms.read(args.synonyms) if args.synonyms else None,
        on_answer=gallery.add_answer if args.report else None,
    )
    heading = f"{result.model} on {result.scenes} {result.dataset}"
    if scenes.settings["split"] == "train":
        heading += " (a training may have seen their shapes)"
    print(f"{heading}\n{rendered_table(result)}\n\n{pairs_table(result)}")
    if result.refused:
        often = sorted(result.refused, key=lambda text: -result.refused[text])[:_REFUSED_SHOWN]
        total = sum(result.refused.values())
        print(f"\nRefused, counted as no answer: {total} queries; most often {', '.join(often)}")
    if args.json:
        write_json(args.json, result.as_dict())
    if args.report:
        tables = [rendered_table(result, "html"), pairs_table(result, "html")]
        print(f"Report: {gallery.write(args.report, heading, tables)}")
    return 0


def _scenes(args: argparse.Namespace) -> tuple[RenderedScenes, int]:
    """The scenes of the arguments, rendered if none are named, and how many of them to score."""
    if args.scenes is None:
        level, count = args.level or LEVELS[0], args.count or RENDERED_SCENES
        count = min(count, args.limit or count)
        folder = cache_folder() / "rendered" / f"{level}-test-{args.seed}"
        return render_test_scenes(level, count, args.seed, folder), count
    scenes = RenderedScenes(args.scenes)
    level = scenes.settings["level"]
    if args.level not in (None, level):
        raise UsageError(
            f"{args.scenes} holds {level} scenes, not {args.level}. Leave out --level; it is that of the folder."
        )
    return scenes, min(len(scenes), args.count or len(scenes), args.limit or len(scenes))
