"""Choice of the engine that runs a network: the requested one, or the fastest that is installed."""

from __future__ import annotations

import functools
import importlib.util
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovps_core.checkpoints.file import ModelFile, network
from ovps_core.engines.engine_cache import DEFAULT_CACHE, EngineCache
from ovps_core.engines.exported import ExportedEngine, find_graphs
from ovps_core.engines.interface import Engine
from ovps_core.errors import BackendError, UsageError
from ovps_core.models.interface import ModelSpec, QueryEncoder
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.structures.requirements import load_runtime, require_packages

if TYPE_CHECKING:
    from ovps_core.models.network import PartModel

BACKENDS = ("auto", "torch", "compiled", "openvino", "onnxruntime", "tensorrt")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "mixed", "int8")
_RUNTIMES = ("openvino", "onnxruntime")  # of the CPU; they also run the graphs beside weights
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
            tensorrt, compiled, torch; on a CPU openvino, onnxruntime, torch. It passes over one that cannot be
            loaded, with a warning.
        device: "auto", "cpu" or "cuda:N".
        precision: one of :data:`PRECISIONS`. "auto" is 16 bit if that is faster.
            mixed and int8 are used only on request, since their cost in accuracy depends on the model.
        calibration: images to calibrate mixed and int8 with, such as the robot sees.
        query_encoder: encodes queries to calibrate mixed and int8 with; only they need it.
        engine_cache: folder of engines that must be built.

    Raises:
        BackendError: the backend, device or precision is not available here; the message says which are.
        UsageError: the backend does not have this device or precision at all.
        MissingDependencyError: a package is not installed; the message has the line that installs it.
    """
    check_backend(backend)
    check_precision(precision)
    if device == "auto" and backend in _RUNTIMES:
        device = "cpu"
    device = choose_device(device)
    if precision == "auto" and not model.spec.safe_in_half_precision:
        precision = "fp32"
    graphs = _graphs_beside(model)
    backend, reason = _choose_backend(model.spec, backend, device, precision, graphs is not None)
    if precision in ("bf16", "mixed", "int8") and not model.spec.safe_in_half_precision:
        log.warning("%s changes this model's masks; docs/performance.md has how much", precision)
    engine: Engine
    if graphs is not None and backend in _RUNTIMES and precision in ("auto", "fp32"):
        engine = ExportedEngine(graphs[0], graphs[1], backend)
    else:
        request = _Request(model, device, precision, calibration, query_encoder, engine_cache)
        engine = _MAKERS[backend](request)
    log.info("engine: %s on %s in %s (%s)", engine.name, device, engine.precision, reason)
    return engine


def check_backend(backend: str) -> None:
    """Raise BackendError unless ``backend`` is one of :data:`BACKENDS`."""
    if backend not in BACKENDS:
        raise BackendError(f"unknown backend {backend!r}; known are {', '.join(BACKENDS)}")


def check_precision(precision: str) -> None:
    """Raise UsageError unless ``precision`` is one of :data:`PRECISIONS`; not every backend has each."""
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; known are {', '.join(PRECISIONS)}")


def choose_device(device: str) -> str:
    """Device for a request: with "auto" the first GPU, or the CPU if there is none.

    Args:
        device: "auto", "cpu" or "cuda:N".

    Raises:
        UsageError: it is no such text.
        BackendError: there is no such GPU; the message says which are there.
    """
    cuda = re.fullmatch(r"cuda(?::(\d+))?", device)
    if cuda is None and device not in ("auto", "cpu"):
        raise UsageError(f"unknown device {device!r}; expected auto, cpu or cuda:N")
    if device == "cpu" or (device == "auto" and not _installed("torch")):
        return "cpu"
    require_packages("torch", extra="torch")
    import torch

    if cuda is None:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(cuda[1] or 0) >= count:
        there = (
            f"PyTorch finds cuda:0 to cuda:{count - 1}" if count else "PyTorch finds no GPU here"
        )
        raise BackendError(f"device {device!r} is not there: {there}; use auto or cpu")
    return device


def _graphs_beside(model: PartModel | ModelFile) -> tuple[ModelFile, Path] | None:
    folder = find_graphs(model)
    return (model, folder) if folder is not None and isinstance(model, ModelFile) else None


def _choose_backend(
    spec: ModelSpec, backend: str, device: str, precision: str, has_graphs: bool
) -> tuple[str, str]:
    """The backend for a request, and the reason for the log.

    Raises:
        BackendError: the backend cannot run this model.
        UsageError: the backend does not run on this device.
    """
    reason = "as requested"
    if not spec.subgraphs:
        if backend not in ("auto", "torch"):
            raise BackendError(
                f"this model has no exported graphs, so {backend!r} cannot run it; use torch"
            )
        return "torch", "the model has no exported graphs"
    if backend == "auto":
        backend, reason = _default_backend(device, precision, has_graphs)
        if backend == "compiled" and spec.detects_objects:
            return "torch", "no TensorRT here, and a model of objects is not compiled"
    if backend == "compiled" and spec.detects_objects:
        raise BackendError("a model of objects is not compiled; use tensorrt, openvino or torch")
    if device != "cpu" and backend in _RUNTIMES:
        raise UsageError(
            f"{backend} runs on the CPU here, not on {device!r}; use tensorrt, compiled or torch"
        )
    return backend, reason


def _default_backend(device: str, precision: str, has_graphs: bool) -> tuple[str, str]:
    """The fastest backend that is installed and can be loaded, and the reason for the log."""
    exporter = (
        () if has_graphs and precision in ("auto", "fp32") else ("torch", "onnx", "onnxscript")
    )
    if device.startswith("cuda"):
        from ovps_core.engines.tensorrt.build import require_tensorrt, runtime_name

        if precision in ("auto", "fp16", "fp32") and runtime_name() and _loads(require_tensorrt):
            return "tensorrt", f"{require_tensorrt().__name__} is installed"
        if importlib.util.find_spec("triton"):
            return "compiled", "no TensorRT for this precision; torch.compile is next"
        return "torch", "neither TensorRT nor Triton is there"
    if precision == "fp16":
        return "torch", "only torch has fp16 on a CPU"
    advice = 'is not installed: pip install "ovps[openvino]"'
    if _installed("openvino", *exporter):
        from ovps_core.engines.openvino.packages import import_openvino

        if _loads(import_openvino):
            return "openvino", "the fastest on a CPU"
        advice = "cannot be loaded"
    load = functools.partial(load_runtime, "onnxruntime", extra="onnx")
    if precision in ("auto", "fp32") and _installed("onnxruntime", *exporter) and _loads(load):
        return "onnxruntime", f"openvino, another fast engine on x86, {advice}"
    return "torch", f"openvino, about twice as fast, {advice}"


def _loads(load: Callable[[], Any]) -> bool:
    """Return whether an installed runtime can be loaded; the log says why not."""
    try:
        load()
    except BackendError as error:
        log.warning("%s; another engine runs meanwhile", error)
        return False
    return True


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
    require_packages("torch", extra="torch")
    from ovps_core.engines.torch_eager import EagerEngine

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
    from ovps_core.engines.openvino.runtime import OpenVinoEngine
    from ovps_core.engines.openvino.session import has_bf16

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
