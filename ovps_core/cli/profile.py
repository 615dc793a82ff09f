"""``ovps profile``: where a frame's time goes."""

from __future__ import annotations

import argparse

import torch
from tabulate import tabulate
from torch.profiler import ProfilerActivity, profile, record_function

from ovps_core.bench.models import open_model, pictures, queries
from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.engine import make_engine
from ovps_core.engine.base import EngineShape
from ovps_core.engine.chunks import decode_in_chunks
from ovps_core.images import to_pixels
from ovps_core.models.base import query_logits
from ovps_core.postprocess import SegmentOptions, part_masks

_STAGES = ("1 preprocess", "2 encode", "3 decode", "4 postprocess")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps profile``."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a name, a file, or random:...")
    parser.add_argument(
        "--engine",
        default="auto",
        help="backend or backend:precision; auto is what `ovps segment` and the node run",
    )
    parser.add_argument("--queries", type=int, default=4, help="number of queries")
    parser.add_argument("--frames", type=int, default=5, help="frames to average")
    parser.add_argument(
        "--rows",
        type=int,
        default=15,
        help="PyTorch operators to list, 0 for stages only; of the network with --engine torch",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")


def run(args: argparse.Namespace) -> int:
    """Print milliseconds of each stage, and the operators that PyTorch spent most in."""
    model = open_model(args.model)
    backend, _, precision = args.engine.partition(":")
    engine = make_engine(model, backend=backend, device=args.device, precision=precision or "auto")
    engine.prepare(EngineShape(1, model.preprocessing.size, engine.max_queries))
    plan, image = model.plan(queries(args.queries)), pictures(1, 640, 480)[0]

    @torch.inference_mode()
    def frame() -> None:
        with record_function(_STAGES[0]):
            pixels = to_pixels(image, model.preprocessing, engine.device)
        with record_function(_STAGES[1]):
            features = engine.encode(pixels)
        with record_function(_STAGES[2]):
            conditions = engine.conditions_here(plan.conditions)
            logits = decode_in_chunks(engine.decode, features, conditions, engine.max_queries)
        with record_function(_STAGES[3]):
            maps = query_logits(logits, plan.readout).cpu().numpy()
            part_masks(maps[0], plan.queries, image.shape[0], image.shape[1], SegmentOptions(), "")

    frame()
    on_gpu = engine.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as seen:
        for _ in range(args.frames):
            frame()
    averages = seen.key_averages()
    stages = {
        event.key: event.cpu_time_total / args.frames / 1e3
        for event in averages
        if event.key in _STAGES
    }
    print(
        tabulate(
            sorted(stages.items()),
            headers=[f"{engine}, {args.queries} queries", "ms"],
            floatfmt=".2f",
        )
    )
    if args.rows:
        order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
        print(averages.table(sort_by=order, row_limit=args.rows, max_name_column_width=45))
    return 0
