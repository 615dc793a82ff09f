"""Compiled graphs of OpenVINO; this module needs no PyTorch."""

from __future__ import annotations

import os
from typing import Any

from ovps_core.engines.openvino.packages import openvino_core


def infer_request(graph: Any, floating: str) -> Any:
    """Compile a graph for low latency on the CPU.

    Args:
        graph: what ``openvino_core().read_model`` returned.
        floating: "f32" or "bf16", the type of its floating-point arithmetic.
    """
    options = {
        "PERFORMANCE_HINT": "LATENCY",  # all cores on one frame
        "INFERENCE_PRECISION_HINT": floating,
        "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)),
        "ENABLE_CPU_PINNING": False,  # other processes of a robot want the cores too
    }
    return openvino_core().compile_model(graph, "CPU", options).create_infer_request()


def has_bf16() -> bool:
    """Return whether this processor multiplies in bf16 (avx512_bf16 or AMX), as OpenVINO sees it.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
