"""ONNX Runtime on a CPU, fp32: the engine that runs on any processor."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovps_core.checkpoints.file import ModelFile, network
from ovps_core.engines.chunking import graph_inputs
from ovps_core.engines.engine_cache import DEFAULT_CACHE, EngineCache, model_key
from ovps_core.engines.interface import Engine, EngineShape
from ovps_core.engines.subgraphs import SUBGRAPHS, export_onnx
from ovps_core.errors import BackendError
from ovps_core.models.interface import Conditions, Features, PartLogits, PartModel

log = logging.getLogger(__name__)


class OnnxRuntimeEngine(Engine):
    """The network's two halves as ONNX graphs, kept on disk after the first start.

    Raises:
        BackendError: ONNX Runtime is not installed, or another precision than fp32 is asked for.
    """

    name = "onnxruntime"

    def __init__(
        self,
        model: PartModel | ModelFile,
        *,
        precision: str = "fp32",
        cache: EngineCache = DEFAULT_CACHE,
    ) -> None:
        super().__init__()
        if precision != "fp32":
            raise BackendError(
                f"onnxruntime runs in fp32 here, not {precision!r}; openvino has bf16, mixed and int8"
            )
        _import()
        self.precision = precision
        self._model = model
        self._cache = cache
        self._sessions: dict[tuple[int, int], tuple[Any, Any]] = {}

    def prepare(self, shape: EngineShape) -> None:
        """See :meth:`Engine.prepare`. The batch stays free; a new size is another graph."""
        self.max_queries = shape.max_queries
        self._halves(shape.size)

    def encode(self, pixels: Tensor) -> Features:
        """See :meth:`Engine.encode`."""
        height, width = pixels.shape[-2:]
        encode, _ = self._halves((height, width))
        levels = encode.run(None, {"pixels": pixels.float().contiguous().numpy()})
        return Features(tuple(torch.from_numpy(level) for level in levels), (height, width))

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """See :meth:`Engine.decode`."""
        _, decode = self._halves(features.size)
        inputs = [
            *features.levels,
            *graph_inputs(conditions, self._model.spec.answers_object_parts),
        ]
        feeds = {
            slot.name: tensor.numpy()
            for slot, tensor in zip(decode.get_inputs(), inputs, strict=True)
        }
        logits = [torch.from_numpy(one) for one in decode.run(None, feeds)]
        if not conditions.object_parts.shape[0]:
            return PartLogits.names_only(logits[0])
        return PartLogits(logits[0], logits[1])

    def _halves(self, size: tuple[int, int]) -> tuple[Any, Any]:
        if size not in self._sessions:
            started = time.perf_counter()
            key = model_key(self._model) | {"size": f"{size[0]}x{size[1]}"}
            folder = self._cache.get("onnx", key, lambda to: self._export(to, size))
            self._sessions[size] = session(folder / "encode.onnx"), session(folder / "decode.onnx")
            log.info("onnxruntime ready for %dx%d in %.1f s", *size, time.perf_counter() - started)
        return self._sessions[size]

    def _export(self, folder: Path, size: tuple[int, int]) -> None:
        for half in SUBGRAPHS:
            self._cache.progress(f"exporting {half} to ONNX")
            export_onnx(network(self._model), folder / f"{half}.onnx", part=half, size=size)


def session(path: Path) -> Any:
    """A graph ready to run on all cores this process may use."""
    onnxruntime = _import()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    # Threads that spin between frames take the cores from the rest of a robot.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _import() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError('onnxruntime is not installed: pip install "ovps[onnx]"') from error
    return onnxruntime
