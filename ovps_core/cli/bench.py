"""``ovps bench``: speed of each engine on this machine, and agreement of their masks."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

import torch

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.cli import CommandModule
from ovps_core.cli.options import add_calibrate_option
from ovps_core.cli.plugins import load_plugin
from ovps_core.engines.calibration import read_calibration
from ovps_core.errors import MissingDependencyError
from ovps_core.profiling.workloads import RANDOM_MODELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps bench``."""
    parser.add_argument(
        "--models",
        nargs="+",
        default=[DEFAULT_MODEL],
        help=f"names from `ovps models`, files, or {', '.join(RANDOM_MODELS)} (random weights)",
    )
    parser.add_argument(
        "--engines",
        nargs="+",
        default=["torch:fp32", "onnxruntime", "openvino:fp32", "openvino:bf16"],
        help="backend or backend:precision",
    )
    parser.add_argument(
        "--queries", nargs="+", type=int, default=[1, 4, 16], help="numbers of queries"
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=_size,
        default=[(640, 480)],
        help="sizes of the pictures, as 640x480",
    )
    parser.add_argument(
        "--cameras", nargs="+", type=int, default=[1], help="numbers of pictures in one call"
    )
    parser.add_argument(
        "--repeats", type=int, default=10, help="number of rounds; every case runs once per round"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="number of PyTorch's threads; 0 for its own choice"
    )
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
    _add_ros(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the files.

    Raises:
        MissingDependencyError: a package that measures or draws is not installed.
    """
    if args.what == "ros":
        return _ros().run(args)
    from ovps_core.profiling.measure import Sweep, measure
    from ovps_core.profiling.tables import markdown, require_plots, write

    if args.output:
        require_plots()

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
    )
    results = measure(sweep)
    print(markdown(results))
    if args.output:
        print("wrote", *write(results, args.output))
    return 0


def _add_ros(parser: argparse.ArgumentParser) -> None:
    """Declare ``ovps bench ros``, with the arguments of the ROS package if that is installed."""
    subparsers = parser.add_subparsers(dest="what", metavar="[ros]")
    ros = subparsers.add_parser("ros", help="measure the node over DDS instead")
    with contextlib.suppress(MissingDependencyError):
        _ros().add_arguments(ros)


def _ros() -> CommandModule:
    needs = "`ovps bench ros` needs ROS 2 and the package ovps_ros; see docs/robot.md"
    return load_plugin("ovps.bench", "ros", needs=needs)


def _size(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)
