"""The benchmarks of ``ovps evaluate`` that ask in sentences: instructpart and umd."""

from __future__ import annotations

import argparse

from tabulate import tabulate

from ovps_core.cli.options import open_segmenter
from ovps_core.datasets.asked_pictures import PhraseBenchmark
from ovps_core.datasets.instructpart import InstructPart
from ovps_core.datasets.umd import UMDAffordances
from ovps_core.errors import UsageError
from ovps_core.structures.whole_files import write_json

PHRASE_BENCHMARKS: dict[str, type[PhraseBenchmark]] = {
    benchmark.name: benchmark for benchmark in (InstructPart, UMDAffordances)
}
PHRASE_LAYOUTS = "\n".join(benchmark.layout for benchmark in PHRASE_BENCHMARKS.values())


def add_phrase_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of these benchmarks."""
    wordings = "; ".join(f"{b.name}: {', '.join(b.wordings)}" for b in PHRASE_BENCHMARKS.values())
    parser.add_argument(
        "--wording",
        default="",
        metavar="W",
        help=f"how it is asked, the first without it. {wordings}",
    )


def run_phrases(args: argparse.Namespace) -> int:
    """Ask all questions and print the scores.

    Raises:
        OvpsError: the arguments, the data or the model cannot be used.
    """
    from ovps_core.evaluation.phrases import evaluate_phrases

    benchmark = PHRASE_BENCHMARKS[args.dataset](args.root)
    wording = args.wording or benchmark.wordings[0]
    if wording not in benchmark.wordings:
        raise UsageError(f"--wording {wording}: {args.dataset} has {', '.join(benchmark.wordings)}")
    questions = benchmark.questions(wording)[: args.limit or None]
    result = evaluate_phrases(questions, open_segmenter(args))
    print(f"{result.model} on {args.dataset} ({wording}): {result.questions} questions")
    shares = {"gIoU": result.giou, "cIoU": result.ciou, "P@50": result.precision_50}
    shares |= {"P@50:95": result.precision_50_95, "gIoU of answered": result.giou_of_answered}
    rows = [(name, f"{100 * value:.1f}") for name, value in shares.items()]
    print(tabulate([*rows, ("refused", str(result.refused))]))
    if args.json:
        write_json(args.json, {"dataset": args.dataset, "wording": wording, **result.as_dict()})
    return 0
