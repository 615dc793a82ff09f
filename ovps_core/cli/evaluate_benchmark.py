"""``ovps evaluate`` on a benchmark of parts, which needs PyTorch."""

from __future__ import annotations

import argparse

from ovps_core.cli.options import open_segmenter
from ovps_core.datasets.part_benchmarks import PART_BENCHMARKS
from ovps_core.evaluation.benchmark import Predict, evaluate_benchmark
from ovps_core.evaluation.gallery import Gallery
from ovps_core.evaluation.predictors import ReleasedPredictor, VocabularyPredictor
from ovps_core.evaluation.protocols import Setting, choose_protocol
from ovps_core.evaluation.result_tables import benchmark_heading, benchmark_table, class_table
from ovps_core.language.vocabulary import load_vocabulary
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.whole_files import write_json


def run_benchmark(args: argparse.Namespace) -> int:
    """Evaluate a model on all classes of a benchmark, print the tables, write the files.

    Raises:
        OvpsError: the data or the model cannot be used.
    """
    segmenter = open_segmenter(args)
    reader = PART_BENCHMARKS[args.dataset](args.root)
    gallery = Gallery(reader.vocabulary.object_part_names)
    predictor = VocabularyPredictor(segmenter, reader.vocabulary)
    protocol = choose_protocol(
        joint=predictor.joint, classes_only=predictor.classes_only, released=args.released
    )
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
