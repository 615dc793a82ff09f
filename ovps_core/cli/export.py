"""``ovps export MODEL --to onnx|openvino|tensorrt``: a graph to deploy without this package."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovps_core.engines.interface import MAX_QUERIES
from ovps_core.engines.subgraphs import OPSETS, export_onnx
from ovps_core.errors import UsageError
from ovps_core.models.interface import PartModel
from ovps_core.profiling.workloads import open_model

_SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "tensorrt": ".plan"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps export``."""
    parser.add_argument("model", help="a name from `ovps models`, or a file")
    parser.add_argument("--to", choices=list(_SUFFIX), default="onnx", help="format to write")
    parser.add_argument(
        "--out", type=Path, help="file to write; by default the model's name in this folder"
    )
    parser.add_argument(
        "--precision",
        choices=["auto", *OPSETS],
        default="auto",
        help="auto: fp16 for tensorrt, else fp32",
    )
    parser.add_argument(
        "--max-queries",
        type=int,
        default=MAX_QUERIES,
        help="tensorrt: maximum number of names or object parts",
    )
    parser.add_argument(
        "--max-batch", type=int, default=8, help="tensorrt: maximum number of images in one call"
    )
    parser.add_argument(
        "--capabilities",
        nargs="*",
        default=[],
        metavar="8.6",
        help="tensorrt: compute capabilities to build for, with TensorRT-RTX; by default this machine's GPU",
    )


def run(args: argparse.Namespace) -> int:
    """Export one graph: pixels and conditions in, logits out."""
    path = args.out or Path(Path(args.model).stem.replace(":", "-") + _SUFFIX[args.to])
    _check(args, path)
    model = open_model(args.model).model
    precision = (
        args.precision if args.precision != "auto" else "fp16" if args.to == "tensorrt" else "fp32"
    )
    if args.to == "onnx":
        export_onnx(model, path, precision=precision)
    elif args.to == "openvino":
        from ovps_core.engines.openvino.runtime import export_ir

        export_ir(model, path)
    else:
        from ovps_core.engines.tensorrt.build import Profile, build_plan

        profile = Profile((1, 1, args.max_batch), (1, min(4, args.max_queries), args.max_queries))
        with (
            tempfile.TemporaryDirectory() as folder,
            tqdm(unit="step", leave=False, disable=None) as bar,
        ):

            def progress(phase: str, done: int, steps: int) -> None:
                bar.set_description(phase)
                bar.total, bar.n = steps, done
                bar.refresh()

            onnx = Path(folder) / "graph.onnx"
            export_onnx(model, onnx, precision=precision)
            plan, report = build_plan(
                onnx, profile=profile, capabilities=args.capabilities, progress=progress
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(plan)
        path.with_suffix(".build.json").write_text(json.dumps(asdict(report), indent=1))
    description = path.with_suffix(".json")
    description.write_text(json.dumps(_description(model), indent=1))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; its inputs are described in {description}")
    return 0


def _description(model: PartModel) -> dict[str, Any]:
    """Description of the graph's inputs and outputs, for people who run it without this package."""
    known: dict[str, Any] = {}
    if model.spec.vocabulary is not None:
        known["condition_elements"] = list(model.spec.vocabulary.condition_names)
    return {
        "pixels": "float32 [batch, 3, height, width], RGB, scaled to 0..1, less mean, over std",
        **asdict(model.spec.preprocessing),
        "logits": "a pixel belongs to the queried part if the sigmoid is above 0.5",
        "condition_dim": model.spec.condition_dim,
        **known,
    }


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
    if args.to != "tensorrt" and args.capabilities:
        raise UsageError(f"--capabilities are for --to tensorrt, not {args.to}")
    for name, count in (("--max-queries", args.max_queries), ("--max-batch", args.max_batch)):
        if count < 1:
            raise UsageError(f"{name} {count}: expected 1 or more")
