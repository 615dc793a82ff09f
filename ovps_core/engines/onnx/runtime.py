"""ONNX Runtime on a CPU in fp32: the engine that runs on any processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovps_core.checkpoints.file import ModelFile
from ovps_core.engines.engine_cache import DEFAULT_CACHE, EngineCache
from ovps_core.engines.graph_engine import GraphEngine
from ovps_core.engines.onnx.session import session
from ovps_core.engines.subgraphs import export_onnx
from ovps_core.errors import UsageError
from ovps_core.models.network import PartModel
from ovps_core.structures.requirements import load_runtime


class OnnxRuntimeEngine(GraphEngine[Any]):
    """Runs the subgraphs of a model as ONNX files.

    Args:
        model: the network, or its file; the weights are copied.
        precision: "fp32".
        engine_cache: folder of the graphs.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        BackendError: it cannot be loaded.
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
        load_runtime("onnxruntime", extra="onnx")

    def _export(self, folder: Path, subgraph: str, size: tuple[int, int]) -> None:
        export_onnx(self._model, folder / f"{subgraph}.onnx", subgraph=subgraph, size=size)

    def _load(self, folder: Path, subgraph: str) -> Any:
        return session(folder / f"{subgraph}.onnx")

    def _run(self, graph: Any, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        names = [slot.name for slot in graph.get_inputs()]
        arrays = [tensor.contiguous().numpy() for tensor in inputs]
        outputs = graph.run(None, dict(zip(names, arrays, strict=True)))
        return tuple(torch.from_numpy(output) for output in outputs)
