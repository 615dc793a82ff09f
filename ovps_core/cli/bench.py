"""``ovps bench``: speed of each engine on this machine, and agreement of their masks."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.cli import CommandModule
from ovps_core.cli.options import (
    add_calibrate_option,
    add_short_side_option,
    at_least,
    picture_size,
)
from ovps_core.cli.output import check_inputs_stay
from ovps_core.cli.plugins import load_plugin
from ovps_core.engines.calibration import read_calibration
from ovps_core.errors import MissingDependencyError
from ovps_core.profiling import busy
from ovps_core.structures.requirements import require_packages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps bench``."""
    parser.add_argument(
        "--models",
        nargs="+",
        default=[DEFAULT_MODEL],
        help="names from `ovps models`, files, or random:NAME (random weights; a wrong NAME lists them)",
    )
    parser.add_argument(
        "--engines",
        nargs="+",
        default=["torch:fp32", "onnxruntime", "openvino:fp32", "openvino:bf16"],
        help="backend or backend:precision",
    )
    parser.add_argument(
        "--queries", nargs="+", type=at_least(1), default=[1, 4, 16], help="numbers of queries"
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=picture_size,
        default=[(640, 480)],
        help="sizes of the pictures, as 640x480",
    )
    parser.add_argument(
        "--cameras",
        nargs="+",
        type=at_least(1),
        default=[1],
        help="numbers of pictures in one call",
    )
    parser.add_argument(
        "--repeats",
        type=at_least(1),
        default=10,
        help="number of rounds; every case runs once per round",
    )
    parser.add_argument(
        "--threads",
        type=at_least(0),
        default=0,
        help="number of PyTorch's threads; 0 for its own choice",
    )
    add_short_side_option(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument(
        "--peer",
        action="store_true",
        help="also run Hugging Face's CLIPSeg, with random:clipseg-vitb16",
    )
    add_calibrate_option(parser)
    parser.add_argument(
        "-o", "--output", type=Path, help="write bench.md, bench.json, bench.png into this folder"
    )
    _add_others(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the files.

    Raises:
        MissingDependencyError: a package that measures or draws is not installed.
    """
    if args.what == "ros":
        return _ros().run(args)
    if args.what == "busy":
        return busy.run(args)
    require_packages("torch", extra="bench")
    import torch

    from ovps_core.profiling.measure import Sweep, measure
    from ovps_core.profiling.tables import markdown, require_plots, write

    if args.output:
        require_plots()
        pictures = args.calibrate.glob("*") if args.calibrate else ()
        check_inputs_stay([args.output / "bench.png"], pictures)

    if args.threads:
        torch.set_num_threads(args.threads)
    sweep = Sweep(
        models=args.models,
        engines=args.engines,
        query_counts=args.queries,
        sizes=args.sizes,
        camera_counts=args.cameras,
        repeats=args.repeats,
        peer=args.peer,
        device=args.device,
        calibration=read_calibration(args.calibrate),
        short_side=args.short_side,
    )
    results = measure(sweep)
    print(markdown(results))
    if args.output:
        print("wrote", *write(results, args.output))
    return 0


def _add_others(parser: argparse.ArgumentParser) -> None:
    """Declare ``ovps bench busy``, and ``ovps bench ros`` with its arguments if the ROS package is installed."""
    subparsers = parser.add_subparsers(dest="what", metavar="[busy|ros]")
    beside = subparsers.add_parser("busy", help="measure frames beside busy processes instead")
    busy.add_arguments(beside)
    ros = subparsers.add_parser("ros", help="measure the node over DDS instead")
    with contextlib.suppress(MissingDependencyError):
        _ros().add_arguments(ros)


def _ros() -> CommandModule:
    needs = "`ovps bench ros` needs ROS 2 and the package ovps_ros; see docs/robot.md"
    return load_plugin("ovps.bench", "ros", needs=needs)
