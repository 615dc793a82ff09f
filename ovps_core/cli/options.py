"""Options that several subcommands share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.engines import EngineCache
from ovps_core.engines.calibration import read_calibration
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.segmenter import PartSegmenter


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options for the model and its engine."""
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="a name from `ovps models`, or a file"
    )
    parser.add_argument(
        "--backend",
        default="auto",
        help="engine: auto, torch, compiled, openvino, onnxruntime or tensorrt",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16, fp16, mixed or int8")
    add_calibrate_option(parser)


def add_calibrate_option(parser: argparse.ArgumentParser) -> None:
    """Declare the option for the pictures that calibrate quantised precisions."""
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="DIR",
        help="folder of pictures such as the robot sees, to calibrate mixed and int8; "
        "synthetic ones are used without it",
    )


def add_threshold_options(parser: argparse.ArgumentParser) -> None:
    """Declare the thresholds of :class:`ovps_core.pipeline.postprocess.components.SegmentOptions`."""
    defaults = SegmentOptions()
    parser.add_argument(
        "--score-threshold",
        type=_probability,
        default=defaults.score_threshold,
        help="minimum score of a part",
    )
    parser.add_argument(
        "--mask-threshold",
        type=_probability,
        default=defaults.mask_threshold,
        help="minimum probability of a pixel",
    )


def _probability(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def open_segmenter(args: argparse.Namespace) -> PartSegmenter:
    """Make the segmenter for the options of :func:`add_model_options`."""
    return PartSegmenter.from_pretrained(
        args.model,
        backend=args.backend,
        device=args.device,
        precision=args.precision,
        calibration=read_calibration(args.calibrate),
        engine_cache=EngineCache(progress=_print_progress),
    )


def _print_progress(step: str) -> None:
    """Say on stderr why the first call with a model takes so long."""
    print(f"building an engine once, about 20 s: {step}", file=sys.stderr)
