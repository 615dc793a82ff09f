"""``ovps export MODEL --to onnx|openvino|tensorrt|graphs``: graphs without this package, or without PyTorch."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ovps_core.checkpoints.registry import find_weights
from ovps_core.cli.options import at_least, picture_size
from ovps_core.engines.interface import MAX_QUERIES
from ovps_core.errors import BackendError, UsageError
from ovps_core.structures.whole_files import write_json, write_whole

if TYPE_CHECKING:
    from ovps_core.models.network import PartModel

_PARTS = {"logits": "a pixel belongs to the queried part if the sigmoid is above 0.5"}
_OBJECTS = {
    "boxes": "float32 [1, N, 4], centre x, centre y, width, height, in 0..1 of the pixels",
    "scores": "float32 [1, N, names], 0..1; most of the N objects have low scores for every name",
    "mask_logits": "float32 [1, N, h, w]; a pixel belongs to the object if the sigmoid is above 0.5",
}
_SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "tensorrt": ".plan"}
_GRAPHS = "graphs"
_MAX_BATCH = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps export``."""
    parser.add_argument("model", help="a name from `ovps models`, or a file")
    parser.add_argument(
        "--to",
        choices=[*_SUFFIX, _GRAPHS],
        default="onnx",
        help="format to write; graphs: the weights and their graphs for a robot without PyTorch",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="file to write, with graphs a folder; by default the model's name in this folder",
    )
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "fp16"],
        default="auto",
        help="auto: fp16 for tensorrt if the model is known to keep its masks, else fp32",
    )
    parser.add_argument(
        "--size",
        type=picture_size,
        metavar="864x640",
        help="width and height of the pixels; by default those of the model. A model of objects takes multiples "
        "of 32, into which pictures are resized and padded at the right and bottom",
    )
    parser.add_argument(
        "--max-queries",
        type=at_least(1),
        help=f"tensorrt: maximum number of names or object parts; {MAX_QUERIES} without it",
    )
    parser.add_argument(
        "--max-batch",
        type=at_least(1),
        help=f"tensorrt: maximum number of images in one call; {_MAX_BATCH} without it",
    )
    parser.add_argument(
        "--capabilities",
        nargs="*",
        default=[],
        metavar="8.6",
        help="tensorrt: compute capabilities to build for, with TensorRT-RTX; by default this machine's GPU",
    )


def run(args: argparse.Namespace) -> int:
    """Export one graph, pixels and conditions in, logits out; or the graphs beside a weights file.

    Raises:
        UsageError: names the argument and what it may be.
    """
    _check_options(args)
    if args.to == _GRAPHS:
        return _write_graphs(args)
    path = args.out or Path(Path(args.model).stem.replace(":", "-") + _SUFFIX[args.to])
    _check(args, path)
    from ovps_core.engines.subgraphs import export_onnx
    from ovps_core.profiling.workloads import open_model

    model = open_model(args.model).model
    if not model.spec.subgraphs:
        raise BackendError(
            f"{args.model} has no graph that can be exported; it runs in PyTorch only"
        )
    width, height = args.size or model.spec.preprocessing.size[::-1]
    size = (height, width)
    if model.spec.canvas is not None and any(side % model.spec.canvas.stride for side in size):
        raise UsageError(f"--size: {args.model} takes multiples of {model.spec.canvas.stride}")
    graph = "detector" if model.spec.detects_objects else "full"
    half = args.to == "tensorrt" and model.spec.safe_in_half_precision
    precision = args.precision if args.precision != "auto" else "fp16" if half else "fp32"
    if args.to == "onnx":
        export_onnx(model, path, precision=precision, subgraph=graph, size=size)
    elif args.to == "openvino":
        from ovps_core.engines.openvino.runtime import export_ir

        export_ir(model, path, subgraph=graph, size=size)
    else:
        with tempfile.TemporaryDirectory() as folder:
            onnx = Path(folder) / "graph.onnx"
            export_onnx(model, onnx, precision=precision, subgraph=graph, size=size)
            _write_plan(args, onnx, path)
    description = path.with_suffix(".json")
    write_json(description, _description(model, size))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; its inputs are described in {description}")
    return 0


def _write_plan(args: argparse.Namespace, onnx: Path, path: Path) -> None:
    """Build TensorRT's plan of an ONNX graph; the report of the build is written beside it."""
    from ovps_core.engines.tensorrt.build import Profile, build_plan

    max_batch, max_queries = args.max_batch or _MAX_BATCH, args.max_queries or MAX_QUERIES
    profile = Profile((1, 1, max_batch), (1, min(4, max_queries), max_queries))
    with tqdm(unit="step", leave=False, disable=None) as bar:

        def progress(phase: str, done: int, steps: int) -> None:
            bar.set_description(phase)
            bar.total, bar.n = steps, done
            bar.refresh()

        plan, report = build_plan(
            onnx, profile=profile, capabilities=args.capabilities, progress=progress
        )
    write_whole(path, plan)
    write_json(path.with_suffix(".build.json"), asdict(report))


def _write_graphs(args: argparse.Namespace) -> int:
    from ovps_core.engines.graph_files import write_graphs

    weights = find_weights(args.model)
    graphs = write_graphs(weights, args.out or Path())
    size = sum(file.stat().st_size for file in graphs.iterdir())
    copied = graphs.with_suffix(".safetensors")
    print(f"{graphs}: {size / 1e6:.1f} MB; take {copied} with it and name that as the model")
    return 0


def _description(model: PartModel, size: tuple[int, int]) -> dict[str, Any]:
    """Description of the graph's inputs and outputs, for people who run it without this package."""
    known: dict[str, Any] = {}
    if model.spec.vocabulary is not None:
        known["condition_elements"] = list(model.spec.vocabulary.condition_names)
    return {
        "pixels": "float32 [batch, 3, height, width], RGB, scaled to 0..1, less mean, over std",
        **asdict(model.spec.preprocessing),
        "size": size,
        **(_OBJECTS if model.spec.detects_objects else _PARTS),
        "condition_dim": model.spec.condition_dim,
        **known,
    }


def _check_options(args: argparse.Namespace) -> None:
    """Check that no argument is given that the format would not heed."""
    if args.to == _GRAPHS and args.precision not in ("auto", "fp32"):
        raise UsageError(f"--precision {args.precision}: --to graphs writes fp32 graphs")
    if args.to == _GRAPHS and args.size:
        raise UsageError("--size is not for --to graphs, whose graphs have the model's own size")
    for option in ("capabilities", "max_queries", "max_batch"):
        if args.to != "tensorrt" and getattr(args, option):
            raise UsageError(f"--{option.replace('_', '-')} is for --to tensorrt, not {args.to}")


def _check(args: argparse.Namespace, path: Path) -> None:
    """Check the arguments before the model is loaded and traced.

    Raises:
        UsageError: names the argument and what it may be.
    """
    suffix = _SUFFIX[args.to]
    if path.is_dir() or path.suffix != suffix:
        raise UsageError(f"--out {path}: expected a file that ends in {suffix} with --to {args.to}")
    if args.to == "openvino" and args.precision not in ("auto", "fp32"):
        raise UsageError(
            f"--precision {args.precision}: OpenVINO's files are fp32; set a lower precision when you run them"
        )
