"""Options that several subcommands share."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ovps_core.checkpoints.registry import DEFAULT_MODEL, DEFAULT_OBJECT_MODEL
from ovps_core.engines import EngineCache
from ovps_core.engines.calibration import read_calibration
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.segmenter import PartSegmenter

if TYPE_CHECKING:
    from ovps_core.object_segmenter import ObjectSegmenter


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options for the model and its engine."""
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="a name from `ovps models`, a file, or a folder copied from the hub",
    )
    add_engine_options(parser)
    add_calibrate_option(parser)


def add_engine_options(parser: argparse.ArgumentParser, backend: str = "auto") -> None:
    """Declare the options for the engine; ``backend`` is the default."""
    parser.add_argument(
        "--backend",
        default=backend,
        help="engine: auto, torch, compiled, openvino, onnxruntime or tensorrt",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16, fp16, mixed or int8")


def add_object_model_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options for an object model, its engine and the size of its input."""
    parser.add_argument(
        "--model", default=DEFAULT_OBJECT_MODEL, help="a name from `ovps models`, or a file"
    )
    add_engine_options(parser, backend="torch")
    add_short_side_option(parser)


def add_short_side_option(parser: argparse._ActionsContainer) -> None:
    """Declare the option for the size of an object model's input."""
    parser.add_argument(
        "--short-side",
        type=at_least(1),
        metavar="PIXELS",
        help="short side to which an object model resizes pictures, its own without it; smaller is faster",
    )


def add_object_option(parser: argparse.ArgumentParser) -> None:
    """Declare the option for objects, of which every part is then a part."""
    parser.add_argument(
        "--objects",
        default="",
        metavar="MODEL",
        help="find objects first, and the parts of each: 'own' for the model's own instances, or an object model "
        "such as openseed-swint; then 'left mug handle' and 'handle of each knife' can be answered",
    )


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
        type=probability,
        default=defaults.score_threshold,
        help="minimum score of a part",
    )
    parser.add_argument(
        "--mask-threshold",
        type=probability,
        default=defaults.mask_threshold,
        help="minimum probability of a pixel",
    )


def at_least(minimum: float, kind: type[float] = int) -> Callable[[str], float]:
    """Type of an option that is a finite number, whole with ``int``, and not below ``minimum``."""

    def number(text: str) -> float:
        value = kind(text)
        if not minimum <= value < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not a number of at least {minimum:g}")
        return value

    return number


def probability(text: str) -> float:
    """Read a number of 0 to 1, as the type of an argument."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def picture_size(text: str) -> tuple[int, int]:
    """Read "640x480" as (width, height), as the type of an argument."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text} is no size such as 640x480")
    return int(width), int(height)


def open_segmenter(args: argparse.Namespace, depth: bool = False) -> PartSegmenter:
    """Make the segmenter for the options of :func:`add_model_options`; ``depth`` comes with the images or not."""
    return PartSegmenter.from_pretrained(
        args.model,
        backend=args.backend,
        device=args.device,
        precision=args.precision,
        calibration=read_calibration(args.calibrate),
        engine_cache=EngineCache(progress=BuildNotice()),
        objects=getattr(args, "objects", None),
        depth=depth,
    )


def open_object_segmenter(args: argparse.Namespace, backend: str = "") -> ObjectSegmenter:
    """Make the segmenter for the options of :func:`add_object_model_options`; ``backend`` comes before theirs."""
    from ovps_core.object_segmenter import ObjectSegmenter  # imports PyTorch

    return ObjectSegmenter.from_pretrained(
        args.model or DEFAULT_OBJECT_MODEL,
        backend=backend or args.backend,
        device=args.device,
        precision=args.precision,
        short_side=args.short_side,
        engine_cache=EngineCache(progress=BuildNotice("some minutes for each shape of pictures")),
    )


class BuildNotice:
    """Says once on stderr why the first call with a model takes so long.

    Args:
        duration: how long it takes.
    """

    def __init__(self, duration: str = "about 20 s") -> None:
        self._duration = duration
        self._announced = False

    def __call__(self, step: str) -> None:
        """Take a step of the build; only the first is announced."""
        if not self._announced:
            print(
                f"an engine for this model is being built, once; {self._duration}", file=sys.stderr
            )
        self._announced = True
