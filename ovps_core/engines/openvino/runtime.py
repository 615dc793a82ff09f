"""OpenVINO on a CPU: fp32, bf16 where the processor has it, mixed and int8 after quantisation."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovps_core.checkpoints.file import ModelFile, network
from ovps_core.engines.chunking import graph_inputs
from ovps_core.engines.engine_cache import DEFAULT_CACHE, EngineCache, model_key
from ovps_core.engines.interface import Engine, EngineShape
from ovps_core.engines.openvino.graph import keep_sums_in_fp32
from ovps_core.engines.openvino.quantise import quantise, recipe, require_nncf
from ovps_core.engines.subgraphs import SUBGRAPHS, export_onnx
from ovps_core.errors import BackendError, UsageError
from ovps_core.models.interface import (
    Conditions,
    Features,
    PartLogits,
    PartModel,
    QueryEncoder,
)
from ovps_core.pipeline.preprocess import RgbImage

PRECISIONS = ("fp32", "bf16", "mixed", "int8")
QUANTISED = ("mixed", "int8")
KEEP_SUMS = ("bf16", "mixed")  # in float32
SUMS_KEPT = ".sums_in_fp32.xml"  # beside the graph, with the same weights
GRAPH_VERSION = 1
"""Part of the cache key. Raise it when :func:`export_ir` or :func:`keep_sums_in_fp32` writes another graph."""
log = logging.getLogger(__name__)

# OpenVINO and NNCF report every import over the network, from a forked child; a robot does not. Without this
# module both leave it.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


class OpenVinoEngine(Engine):
    """The network's two halves as OpenVINO graphs, kept on disk after the first start.

    Args:
        model: the network; its weights are copied.
        precision: "int8" quantises the image tower and the decoder's MLPs, "mixed" only what lies behind the
            shallowest features; what stays in floating point is bf16 where the processor has it, with float32 for
            sums and norms in "bf16" and "mixed".
        images: pictures to calibrate int8 and mixed with, such as the robot sees; a few synthetic ones by default.
        query_encoder: encodes the queries to calibrate int8 and mixed with; not needed for other precisions.
        cache: where the graphs are kept.

    Raises:
        BackendError: OpenVINO is not installed, or the precision cannot be had on this processor.
    """

    name = "openvino"

    def __init__(
        self,
        model: PartModel | ModelFile,
        *,
        precision: str = "fp32",
        images: Sequence[RgbImage] = (),
        query_encoder: QueryEncoder | None = None,
        cache: EngineCache = DEFAULT_CACHE,
    ) -> None:
        super().__init__()
        self._core = _core()
        if precision not in PRECISIONS:
            raise BackendError(f"openvino runs in {', '.join(PRECISIONS)}, not {precision!r}")
        if precision == "bf16" and not has_bf16():
            raise BackendError(
                "this processor has no bf16 instructions; use openvino in fp32 or int8"
            )
        if precision in QUANTISED:
            require_nncf()
            if query_encoder is None:
                raise UsageError(f"{precision} is calibrated with queries; pass query_encoder")
        self.precision = precision
        self._model = model
        self._images = images
        self._query_encoder = query_encoder
        self._cache = cache
        self._requests: dict[tuple[int, int], tuple[Any, Any]] = {}
        self._levels = 0

    def prepare(self, shape: EngineShape) -> None:
        """See :meth:`Engine.prepare`. The batch stays free; a new size is another graph."""
        self.max_queries = shape.max_queries
        encode, _ = self._halves(shape.size)
        encode.infer([torch.zeros(shape.batch, 3, *shape.size).numpy()], share_inputs=True)

    def encode(self, pixels: Tensor) -> Features:
        """See :meth:`Engine.encode`."""
        height, width = pixels.shape[-2:]
        encode, _ = self._halves((height, width))
        encode.infer([pixels.float().contiguous().numpy()], share_inputs=True)
        levels = [torch.from_numpy(encode.get_output_tensor(i).data) for i in range(self._levels)]
        return Features(tuple(levels), (height, width))

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """See :meth:`Engine.decode`."""
        _, decode = self._halves(features.size)
        asked = graph_inputs(conditions, self._model.spec.answers_object_parts)
        inputs = [level.numpy() for level in features.levels]
        inputs += [tensor.contiguous().numpy() for tensor in asked]
        decode.infer(inputs, share_inputs=True)
        # The request's own memory is overwritten by the next call.
        names = torch.from_numpy(decode.get_output_tensor(0).data.copy())
        if not conditions.object_parts.shape[0]:
            return PartLogits.names_only(names)
        return PartLogits(names, torch.from_numpy(decode.get_output_tensor(1).data.copy()))

    def _halves(self, size: tuple[int, int]) -> tuple[Any, Any]:
        if size not in self._requests:
            started = time.perf_counter()
            key = graph_key(self._model, size)
            folder = self._cache.get("openvino", key, lambda to: self._export(to, size))
            if self.precision in QUANTISED:
                floating = folder
                key |= recipe(self._images, self.precision)
                folder = self._cache.get(
                    f"openvino-{self.precision}", key, lambda to: self._quantise(floating, to)
                )
            requests = [self._compile(folder, half) for half in SUBGRAPHS]
            self._requests[size] = requests[0], requests[1]
            log.info("openvino ready for %dx%d in %.1f s", *size, time.perf_counter() - started)
        return self._requests[size]

    def _compile(self, folder: Path, half: str) -> Any:
        file = folder / f"{half}{SUMS_KEPT if self.precision in KEEP_SUMS else '.xml'}"
        graph = self._core.read_model(file, folder / f"{half}.bin")
        if half == "encode":
            self._levels = len(graph.outputs)
        floating = "bf16" if self.precision != "fp32" and has_bf16() else "f32"
        options = {
            "PERFORMANCE_HINT": "LATENCY",  # all cores on one frame
            "INFERENCE_PRECISION_HINT": floating,
            "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)),
            "ENABLE_CPU_PINNING": False,  # a robot's other processes want the cores too
        }
        return self._core.compile_model(graph, "CPU", options).create_infer_request()

    def _quantise(self, floating: Path, folder: Path) -> None:
        self._cache.progress(f"quantising to {self.precision}")
        assert self._query_encoder is not None  # checked when the engine was made
        quantise(
            network(self._model),
            floating,
            folder,
            self._images,
            self.precision,
            self._query_encoder,
        )
        if self.precision in KEEP_SUMS:
            _keep_sums(folder)

    def _export(self, folder: Path, size: tuple[int, int]) -> None:
        for half in SUBGRAPHS:
            self._cache.progress(f"exporting {half} to OpenVINO")
            export_ir(network(self._model), folder / f"{half}.xml", part=half, size=size)
        _keep_sums(folder)


def _keep_sums(folder: Path) -> None:
    for half in SUBGRAPHS:
        keep_sums_in_fp32(folder / f"{half}.xml", folder / f"{half}{SUMS_KEPT}")


def graph_key(model: PartModel | ModelFile, size: tuple[int, int]) -> dict[str, str]:
    """What OpenVINO's floating-point graphs of ``model`` depend on."""
    import openvino

    return model_key(model) | {
        "size": f"{size[0]}x{size[1]}",
        "openvino": openvino.__version__,
        "openvino graph": str(GRAPH_VERSION),
    }


def export_ir(
    model: PartModel, path: Path, *, part: str = "whole", size: tuple[int, int] | None = None
) -> None:
    """Write OpenVINO's own files, ``path`` (.xml) and the weights beside it (.bin), in fp32.

    Raises:
        BackendError: OpenVINO or onnx is not installed, or the network cannot be exported.
    """
    core = _core()
    import openvino as ov
    from openvino.passes import ConstantFolding, Manager

    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder) / "graph.onnx", part=part, size=size)
        graph = core.read_model(Path(folder) / "graph.onnx")
        folding = Manager()
        folding.register_pass(ConstantFolding())
        folding.run_passes(graph)  # quantising finds weights only where they are constants
        path.parent.mkdir(parents=True, exist_ok=True)
        ov.save_model(graph, path, compress_to_fp16=False)


def has_bf16() -> bool:
    """Whether this processor multiplies in bf16 (avx512_bf16 or AMX), as OpenVINO sees it."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _core() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise BackendError('openvino is not installed: pip install "ovps[openvino]"') from error
    return openvino.Core()
