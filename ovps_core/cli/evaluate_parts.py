"""The runs of ``ovps evaluate`` for models of parts: benchmarks, labelled photographs, and rendered scenes."""

from __future__ import annotations

import argparse

from ovps_core.cli.options import open_segmenter
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.part_benchmarks import PART_BENCHMARKS
from ovps_core.errors import UsageError
from ovps_core.evaluation.benchmark import Predict, evaluate_benchmark
from ovps_core.evaluation.folder import evaluate_folder
from ovps_core.evaluation.gallery import Gallery
from ovps_core.evaluation.household import HOUSEHOLD
from ovps_core.evaluation.predictors import ReleasedPredictor, VocabularyPredictor
from ovps_core.evaluation.protocols import Setting, choose_protocol
from ovps_core.evaluation.query_sampler import Synonyms
from ovps_core.evaluation.rendered import evaluate_rendered, render_test_scenes
from ovps_core.evaluation.result_tables import (
    benchmark_heading,
    benchmark_table,
    class_table,
    folder_notes,
    folder_table,
    pairs_table,
    refused_lines,
    rendered_table,
)
from ovps_core.language.vocabulary import load_vocabulary
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.cache_folder import cache_folder
from ovps_core.structures.whole_files import write_json
from ovps_core.synthetic.reader import RenderedScenes

_REFUSED_SHOWN = 8


def run_parts(args: argparse.Namespace) -> int:
    """Evaluate a model of parts, print the tables, write the files.

    Raises:
        OvpsError: the data or the model cannot be used.
    """
    runners = {"folder": _run_folder, "household": _run_folder, "rendered": _run_rendered}
    return runners.get(args.dataset, _run_benchmark)(args, open_segmenter(args))


def _run_benchmark(args: argparse.Namespace, segmenter: PartSegmenter) -> int:
    reader = PART_BENCHMARKS[args.dataset](args.root)
    gallery = Gallery(reader.vocabulary.object_part_names)
    predictor = VocabularyPredictor(segmenter, reader.vocabulary)
    protocol = choose_protocol(joint=predictor.joint, released=args.released)
    predict: Predict = predictor
    if protocol.stretches_padding:
        predict = ReleasedPredictor(predictor, protocol, resizes=reader.resized_in_released_code)
    result = evaluate_benchmark(
        reader,
        predict,
        settings=tuple(Setting) if args.setting == "both" else (Setting(args.setting),),
        protocol=protocol,
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
    seen = {name: load_vocabulary(name).seen().object_parts for name in PART_BENCHMARKS}
    return next((name for name in seen if seen[name] == trained), "")


def _run_folder(args: argparse.Namespace, segmenter: PartSegmenter) -> int:
    gallery = Gallery()
    folder = CocoFolder(
        args.directory or HOUSEHOLD,
        object_name=args.object,
        skip_broken=args.skip_broken,
        pseudo_labels=args.pseudo_labels,
    )
    result = evaluate_folder(
        folder,
        segmenter,
        limit=args.limit,
        model=segmenter.name,
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
        often = sorted(result.refused, key=lambda text: -result.refused[text])[:_REFUSED_SHOWN]
        total = sum(result.refused.values())
        print(f"\nRefused, counted as no answer: {total} queries; most often {', '.join(often)}")
    if args.json:
        write_json(args.json, result.as_dict())
    if args.report:
        tables = [rendered_table(result, "html"), pairs_table(result, "html")]
        print(f"Report: {gallery.write(args.report, heading, tables)}")
    return 0
