"""``ovps annotate frames SRC ... --out DIR --queries TEXT``."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from tabulate import tabulate

from ovps_core.bulk.annotator import Annotator, Job
from ovps_core.bulk.on_ray import RayExecutor
from ovps_core.bulk.run import Execute, annotate_frames, annotate_here
from ovps_core.checkpoints import open_model
from ovps_core.cli.options import add_model_options, add_threshold_options, at_least, open_segmenter
from ovps_core.engines.calibration import calibration_digest, read_calibration
from ovps_core.pipeline.postprocess.components import SegmentOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps annotate frames``."""
    parser.add_argument(
        "source",
        type=Path,
        nargs="+",
        metavar="SRC",
        help="pictures, recordings, and folders that are searched for them",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="data set to write, or to continue; workers on other machines must see it under this path",
    )
    parser.add_argument("--queries", required=True, help='parts to find: "knife handle, mug rim"')
    parser.add_argument(
        "--image", metavar="T", default="", help="topic of the colour image in recordings"
    )
    parser.add_argument(
        "--every", type=at_least(1), default=1, metavar="N", help="every N-th frame of recordings"
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="spread the work with Ray: over this machine, or the cluster at ADDRESS (auto: the running one)",
    )
    parser.add_argument(
        "--workers", type=at_least(1), default=2, metavar="N", help="processes, with --ray"
    )
    parser.add_argument(
        "--gpus",
        type=at_least(0, float),
        default=0.0,
        metavar="G",
        help="GPUs of each process, with --ray",
    )
    add_threshold_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Annotate; print the counts. The status is 1 if a source could not be read, or a phrase is refused."""
    options = SegmentOptions(args.score_threshold, args.mask_threshold)
    job = Job(args.out.absolute(), args.queries, options, args.image, args.every)
    annotator = Annotator(job, partial(open_segmenter, args))
    execute: Execute = annotate_here
    if args.ray:
        address = "" if args.ray == "local" else args.ray
        execute = RayExecutor(address, workers=args.workers, gpus=args.gpus)
    engine = {"backend": args.backend, "precision": args.precision}
    if args.calibrate:
        engine["calibration"] = calibration_digest(read_calibration(args.calibrate))
    summary = annotate_frames(
        args.source,
        annotator,
        model=str(open_model(args.model).info),
        engine=engine,
        execute=execute,
    )
    counts = {
        "frames": summary.frames,
        "of an earlier run": summary.resumed,
        "masks": summary.masks,
        **summary.left_out,
    }
    print(tabulate(counts.items(), headers=(str(args.out), "")))
    for source, problem in summary.problems.items():
        print(f"ovps annotate: {source}: {problem}", file=sys.stderr)
    for phrase, reason in summary.refused.items():
        print(f"ovps annotate: {phrase!r} is not looked for: {reason}", file=sys.stderr)
    return 1 if summary.problems or summary.refused else 0
