"""Options that several subcommands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.engines.openvino.calibration import read_calibration
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.segmenter import PartSegmenter


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which model runs, and on what."""
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="a name from `ovps models`, or a file"
    )
    parser.add_argument("--backend", default="auto", help="what runs the network")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16, fp16, mixed or int8")
    add_calibrate_option(parser)


def add_calibrate_option(parser: argparse.ArgumentParser) -> None:
    """What the precisions that quantise are calibrated with."""
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="DIR",
        help="pictures such as the robot sees, to calibrate mixed and int8 with; else synthetic ones",
    )


def add_threshold_options(parser: argparse.ArgumentParser) -> None:
    """What counts as a part, as in :class:`ovps_core.pipeline.postprocess.components.SegmentOptions`."""
    defaults = SegmentOptions()
    parser.add_argument(
        "--score-threshold",
        type=_probability,
        default=defaults.score_threshold,
        help="least score of a part",
    )
    parser.add_argument(
        "--mask-threshold",
        type=_probability,
        default=defaults.mask_threshold,
        help="least probability of a pixel",
    )


def _probability(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def open_segmenter(args: argparse.Namespace) -> PartSegmenter:
    """The segmenter that :func:`add_model_options` describe."""
    return PartSegmenter.from_pretrained(
        args.model,
        backend=args.backend,
        device=args.device,
        precision=args.precision,
        calibration=read_calibration(args.calibrate),
    )
