"""ONNX Runtime on a CPU in fp32: the engine that runs on any processor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovps_core.checkpoints.file import ModelFile
from ovps_core.engines.engine_cache import DEFAULT_CACHE, EngineCache
from ovps_core.engines.graph_engine import GraphEngine
from ovps_core.engines.requirements import require_packages
from ovps_core.engines.subgraphs import export_onnx
from ovps_core.errors import UsageError
from ovps_core.models.interface import PartModel


class OnnxRuntimeEngine(GraphEngine[Any]):
    """Runs the subgraphs of a model as ONNX files.

    Args:
        model: the network, or its file; the weights are copied.
        precision: "fp32".
        engine_cache: folder of the graphs.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        UsageError: another precision than fp32.
    """

    name = "onnxruntime"

    def __init__(
        self,
        model: PartModel | ModelFile,
        *,
        precision: str = "fp32",
        engine_cache: EngineCache = DEFAULT_CACHE,
    ) -> None:
        super().__init__(model, precision=precision, engine_cache=engine_cache)
        if precision != "fp32":
            raise UsageError(
                f"onnxruntime runs in fp32 here, not {precision!r}; openvino has bf16, mixed and int8"
            )
        require_packages("onnxruntime", extra="onnx")

    def _export(self, folder: Path, subgraph: str, size: tuple[int, int]) -> None:
        export_onnx(self._model, folder / f"{subgraph}.onnx", subgraph=subgraph, size=size)

    def _load(self, folder: Path, subgraph: str) -> Any:
        return session(folder / f"{subgraph}.onnx")

    def _run(self, graph: Any, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        names = [slot.name for slot in graph.get_inputs()]
        arrays = [tensor.contiguous().numpy() for tensor in inputs]
        outputs = graph.run(None, dict(zip(names, arrays, strict=True)))
        return tuple(torch.from_numpy(output) for output in outputs)


def session(path: Path) -> Any:
    """An ``onnxruntime.InferenceSession`` of a file, on all cores that this process may use."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    # Threads that spin between frames take the cores from the rest of a robot.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
