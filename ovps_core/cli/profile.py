"""``ovps profile``: time of each stage of a frame."""

from __future__ import annotations

import argparse

from tabulate import tabulate

from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.cli.options import at_least
from ovps_core.engines.interface import EngineShape
from ovps_core.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps profile``."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a name, a file, or random:...")
    parser.add_argument(
        "--engine",
        default="auto",
        help="backend or backend:precision; auto is the default of `ovps segment` and the node",
    )
    parser.add_argument("--queries", type=at_least(1), default=4, help="number of queries")
    parser.add_argument("--frames", type=at_least(1), default=5, help="number of frames to average")
    parser.add_argument(
        "--rows",
        type=at_least(0),
        default=15,
        help="number of PyTorch operators to list; those of the network show with --engine torch",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")


def run(args: argparse.Namespace) -> int:
    """Print the milliseconds of each stage, and PyTorch's most expensive operators."""
    from torch.profiler import ProfilerActivity, profile, record_function

    from ovps_core.profiling.case import STAGES, Result, Workload
    from ovps_core.profiling.measure import Case, reference_maps
    from ovps_core.profiling.workloads import open_engine, open_model

    loaded = open_model(args.model)
    if loaded.spec.detects_objects:
        raise UsageError(f"{args.model} finds objects: `ovps bench` has the times of its stages")
    workload = Workload(args.queries, (640, 480), cameras=1)
    expected = reference_maps(loaded, workload)
    engine = open_engine(loaded, args.engine, args.device)
    engine.prepare(EngineShape(1, loaded.model.spec.preprocessing.size, engine.max_queries))
    case = Case(Result(args.model, str(engine), *workload), loaded, engine, expected)
    case.run(record_function)
    on_gpu = engine.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as seen:
        for _ in range(args.frames):
            case.run(record_function)
    averages = seen.key_averages()
    spent = {event.key: event.cpu_time_total / args.frames / 1e3 for event in averages}
    rows = [(f"{number} {stage}", spent[stage]) for number, stage in enumerate(STAGES, start=1)]
    print(tabulate(rows, headers=[f"{engine}, {args.queries} queries", "ms"], floatfmt=".2f"))
    if args.rows:
        order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
        print(averages.table(sort_by=order, row_limit=args.rows, max_name_column_width=45))
    return 0
