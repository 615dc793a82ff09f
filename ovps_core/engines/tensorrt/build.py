"""Build of TensorRT plans from ONNX, with TensorRT or with TensorRT-RTX, which needs no GPU to build."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovps_core.engines.interface import MAX_QUERIES
from ovps_core.errors import BackendError, MissingDependencyError, UsageError
from ovps_core.structures.requirements import load_runtime
from ovps_core.structures.whole_files import write_whole

RUNTIMES = ("tensorrt", "tensorrt_rtx")
BuildProgress = Callable[[str, int, int], None]
"""Called with the name of a phase, the number of steps done and the number of all steps."""


@dataclass(frozen=True)
class Profile:
    """Minimum, usual value and maximum of the free axes of a graph; kernels are tuned for the usual value.

    Attributes:
        batch: images in one call.
        queries: names, and object parts, in one pass of the decoder.
    """

    batch: tuple[int, int, int] = (1, 1, 8)
    queries: tuple[int, int, int] = (1, 4, MAX_QUERIES)


@dataclass(frozen=True)
class BuildReport:
    """Description of a built plan.

    Attributes:
        runtime: "tensorrt" or "tensorrt_rtx", and its version.
        capabilities: compute capabilities of the GPUs it runs on; empty: only the one it was built on.
        inputs, outputs: "name dtype shape" of each tensor.
        layers: number of layers before fusion.
        plan_bytes: size of the plan.
        seconds: duration of the build.
        profile: sizes that the plan accepts.
    """

    runtime: str
    capabilities: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: int
    plan_bytes: int
    seconds: float
    profile: Profile = field(default_factory=Profile)


def runtime_name() -> str:
    """Name of the installed TensorRT, "tensorrt" or "tensorrt_rtx"; "" if there is none."""
    return next((name for name in RUNTIMES if importlib.util.find_spec(name)), "")


def require_tensorrt() -> Any:
    """The module ``tensorrt`` or ``tensorrt_rtx``.

    Raises:
        MissingDependencyError: neither is installed; the message has the line that installs one.
        BackendError: what is installed cannot be loaded; the message has the loader's.
    """
    broken: BackendError | None = None
    for name in RUNTIMES:
        try:
            return load_runtime(name, extra=name.replace("_", "-"))
        except MissingDependencyError:
            continue
        except BackendError as error:
            broken = broken or error
    raise broken or MissingDependencyError(
        'no TensorRT is installed: pip install "ovps[tensorrt]", or "ovps[tensorrt-rtx]" for RTX cards'
    )


def build_plan(
    onnx: Path,
    *,
    profile: Profile = Profile(),
    capabilities: Sequence[str] = (),
    timing_cache: Path | None = None,
    progress: BuildProgress | None = None,
) -> tuple[bytes, BuildReport]:
    """Build a serialised engine, which TensorRT calls a plan; its precision is that of the graph's tensors.

    Args:
        onnx: a file written by :func:`ovps_core.engines.subgraphs.export_onnx`.
        profile: sizes that the plan must accept.
        capabilities: compute capabilities to build for ("8.6", "8.9", "12.0"); only TensorRT-RTX takes them.
        timing_cache: file of kernel timings, read if it exists and written back; it speeds up later builds.
        progress: called as phases of the build advance.

    Raises:
        MissingDependencyError: no TensorRT is installed.
        UsageError: this TensorRT cannot build for the capabilities.
        BackendError: the graph cannot be parsed or built; the message has the first error.
    """
    trt = require_tensorrt()
    started = time.perf_counter()
    logger = _logger(trt)
    builder = trt.Builder(logger)
    network = _parse(trt, builder, logger, onnx)
    config = builder.create_builder_config()
    config.add_optimization_profile(_profile(builder, network, profile))
    _set_capabilities(trt, config, capabilities)
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # TensorRT-RTX: a CUDA graph may only hold memory that the caller gave
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    cache = _load_timing_cache(config, timing_cache)
    monitor = _monitor(trt, progress) if progress else None
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        reason = next(iter(logger.errors), "no reason given")
        raise BackendError(f"{trt.__name__} {trt.__version__} cannot build {onnx.name}: {reason}")
    if cache is not None and timing_cache is not None:
        write_whole(timing_cache, bytes(cache.serialize()))
    plan = bytes(plan)
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    report = BuildReport(
        runtime=f"{trt.__name__} {trt.__version__}",
        capabilities=tuple(capabilities),
        inputs=tuple(_describe(tensor) for tensor in inputs),
        outputs=tuple(_describe(tensor) for tensor in outputs),
        layers=network.num_layers,
        plan_bytes=len(plan),
        seconds=time.perf_counter() - started,
        profile=profile,
    )
    return plan, report


def _parse(trt: Any, builder: Any, logger: Any, onnx: Path) -> Any:
    """The strongly typed network of an ONNX file."""
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        first = parser.get_error(0).desc() if parser.num_errors else "no reason given"
        raise BackendError(f"{trt.__name__} {trt.__version__} cannot read {onnx.name}: {first}")
    return network


def _profile(builder: Any, network: Any, wanted: Profile) -> Any:
    """One axis of an input may be free: of images in pixels and feature levels, of queries in all others."""
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        per_image = tensor.name == "pixels" or tensor.name.startswith("level")
        counts = wanted.batch if per_image else wanted.queries
        shapes = [tuple(count if n < 0 else n for n in tensor.shape) for count in counts]
        profile.set_shape(tensor.name, *shapes)
    return profile


def _set_capabilities(trt: Any, config: Any, capabilities: Sequence[str]) -> None:
    if not capabilities:
        return
    if not hasattr(config, "set_compute_capability"):
        raise UsageError(
            f"{trt.__name__} builds for the GPU at hand; tensorrt_rtx builds for others"
        )
    config.num_compute_capabilities = len(capabilities)
    for i, capability in enumerate(capabilities):
        name = "SM" + capability.replace(".", "")
        if not hasattr(trt.ComputeCapability, name):
            known = sorted(name for name in dir(trt.ComputeCapability) if name.startswith("SM"))
            raise UsageError(
                f"{trt.__name__} {trt.__version__} has no compute capability {capability}; it knows "
                + ", ".join(known)
            )
        config.set_compute_capability(getattr(trt.ComputeCapability, name), i)


def _load_timing_cache(config: Any, path: Path | None) -> Any:
    """TensorRT's kernel timings; None if the runtime has none, as TensorRT-RTX, which times nothing in a build."""
    if path is None:
        return None
    content = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(content)
    if cache is None:  # the file is of another version
        cache = config.create_timing_cache(b"")
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        return None
    return cache


def _describe(tensor: Any) -> str:
    return f"{tensor.name} {tensor.dtype.name.lower()} {list(tensor.shape)}"


def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        """Keeps error messages for the exception; TensorRT itself returns None without a reason."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)

    return Logger()


def _monitor(trt: Any, progress: BuildProgress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, step + 1, self.steps[phase_name])
            return True

        def phase_finish(self, phase_name: str) -> None:
            steps = self.steps.pop(phase_name)
            progress(phase_name, steps, steps)

    return Monitor()
