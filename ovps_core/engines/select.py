"""Choice of the engine that runs a network: the requested one, or the fastest that is installed."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ovps_core.checkpoints.file import ModelFile, network
from ovps_core.engines.engine_cache import DEFAULT_CACHE, EngineCache
from ovps_core.engines.interface import Engine
from ovps_core.engines.torch_eager import EagerEngine
from ovps_core.errors import BackendError, UsageError
from ovps_core.models.interface import PartModel, QueryEncoder
from ovps_core.pipeline.preprocess import RgbImage

BACKENDS = ("auto", "torch", "compiled", "openvino", "onnxruntime", "tensorrt")
log = logging.getLogger(__name__)


def make_engine(
    model: PartModel | ModelFile,
    *,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    calibration: Sequence[RgbImage] = (),
    query_encoder: QueryEncoder | None = None,
    engine_cache: EngineCache = DEFAULT_CACHE,
) -> Engine:
    """Make an engine for ``model``.

    Args:
        model: the network.
        backend: one of :data:`BACKENDS`. "auto" takes the fastest that is installed and keeps the masks: on a GPU
            tensorrt, compiled, torch; on a CPU openvino, onnxruntime, torch.
        device: "auto", "cpu" or "cuda:N".
        precision: "auto", "fp32", "bf16", "fp16", "mixed" or "int8". "auto" is 16 bit if that is faster.
            mixed and int8 are used only on request, since their cost in accuracy depends on the model.
        calibration: images to calibrate mixed and int8 with, such as the robot sees.
        query_encoder: encodes queries to calibrate mixed and int8 with; only they need it.
        engine_cache: folder of engines that must be built.

    Raises:
        BackendError: the backend, device or precision is not available here; the message says which are.
        UsageError: the backend does not have this device or precision at all.
        MissingDependencyError: a package is not installed; the message has the line that installs it.
    """
    if backend not in BACKENDS:
        raise BackendError(f"unknown backend {backend!r}; known are {', '.join(BACKENDS)}")
    if device == "auto":
        on_gpu = torch.cuda.is_available() and backend not in ("openvino", "onnxruntime")
        device = "cuda:0" if on_gpu else "cpu"
    if precision == "auto" and not model.spec.safe_in_half_precision:
        precision = "fp32"
    reason = "as requested"
    if backend == "auto":
        backend, reason = _default_backend(device, precision)
    if device != "cpu" and backend in ("openvino", "onnxruntime"):
        raise UsageError(
            f"{backend} runs on the CPU here, not on {device!r}; use tensorrt, compiled or torch"
        )
    if precision in ("bf16", "mixed", "int8") and not model.spec.safe_in_half_precision:
        log.warning("%s changes this model's masks; docs/performance.md has how much", precision)
    request = _Request(model, device, precision, calibration, query_encoder, engine_cache)
    engine = _MAKERS[backend](request)
    log.info("engine: %s on %s in %s (%s)", engine.name, device, engine.precision, reason)
    return engine


def _default_backend(device: str, precision: str) -> tuple[str, str]:
    """The fastest backend that is installed, and the reason for the log."""
    if device.startswith("cuda"):
        from ovps_core.engines.tensorrt.build import runtime_name

        if precision in ("auto", "fp16", "fp32") and runtime_name():
            return "tensorrt", f"{runtime_name()} is installed"
        if importlib.util.find_spec("triton"):
            return "compiled", "no TensorRT for this precision; torch.compile is next"
        return "torch", "neither TensorRT nor Triton is installed"
    if precision == "fp16":
        return "torch", "only torch has fp16 on a CPU"
    if _installed("openvino", "onnx", "onnxscript"):
        return "openvino", "the fastest on a CPU"
    if precision in ("auto", "fp32") and _installed("onnxruntime", "onnx", "onnxscript"):
        return (
            "onnxruntime",
            'openvino, which is faster, is not installed: pip install "ovps[openvino]"',
        )
    return "torch", 'openvino, about twice as fast, is not installed: pip install "ovps[openvino]"'


def _installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) for name in names)


def _precision_or(precision: str, default: Callable[[], str]) -> str:
    return default() if precision == "auto" else precision


@dataclass(frozen=True)
class _Request:
    """Arguments of :func:`make_engine` after its defaults are filled in."""

    model: PartModel | ModelFile
    device: str
    precision: str
    calibration: Sequence[RgbImage]
    query_encoder: QueryEncoder | None
    engine_cache: EngineCache


def _torch(request: _Request) -> Engine:
    model = network(request.model)
    return EagerEngine(model, device=request.device, precision=_torch_precision(request))


def _compiled(request: _Request) -> Engine:
    from ovps_core.engines.torch_compile import CompiledEngine

    model = network(request.model)
    return CompiledEngine(model, device=request.device, precision=_torch_precision(request))


def _torch_precision(request: _Request) -> str:
    default = "fp16" if request.device.startswith("cuda") else "fp32"
    return _precision_or(request.precision, lambda: default)


def _openvino(request: _Request) -> Engine:
    from ovps_core.engines.openvino.runtime import OpenVinoEngine, has_bf16

    return OpenVinoEngine(
        request.model,
        precision=_precision_or(request.precision, lambda: "bf16" if has_bf16() else "fp32"),
        calibration=request.calibration,
        query_encoder=request.query_encoder,
        engine_cache=request.engine_cache,
    )


def _onnxruntime(request: _Request) -> Engine:
    from ovps_core.engines.onnx.runtime import OnnxRuntimeEngine

    precision = _precision_or(request.precision, lambda: "fp32")
    return OnnxRuntimeEngine(request.model, precision=precision, engine_cache=request.engine_cache)


def _tensorrt(request: _Request) -> Engine:
    from ovps_core.engines.tensorrt.runtime import TensorRtEngine

    precision = _precision_or(request.precision, lambda: "fp16")
    return TensorRtEngine(
        request.model, device=request.device, precision=precision, engine_cache=request.engine_cache
    )


_MAKERS: dict[str, Callable[[_Request], Engine]] = {
    "torch": _torch,
    "compiled": _compiled,
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
    "tensorrt": _tensorrt,
}
