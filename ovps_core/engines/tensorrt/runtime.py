"""TensorRT on a GPU: fp16 plans, PyTorch's tensors by pointer, a CUDA graph for each number of queries."""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ovps_core.checkpoints.file import ModelFile
from ovps_core.engines.chunking import graph_inputs, pad_to_bucket, round_up_to_bucket
from ovps_core.engines.engine_cache import DEFAULT_CACHE, EngineCache, graph_key
from ovps_core.engines.graph_engine import GraphEngine
from ovps_core.engines.interface import EngineShape
from ovps_core.engines.subgraphs import export_onnx
from ovps_core.engines.tensorrt.build import Profile, build_plan, require_tensorrt
from ovps_core.errors import BackendError, UsageError
from ovps_core.models.interface import Conditions, Features
from ovps_core.models.network import PartModel
from ovps_core.models.objects import ObjectQueries

PRECISIONS = ("fp16", "fp32")
log = logging.getLogger(__name__)


def plan_key(
    model: PartModel | ModelFile,
    *,
    size: tuple[int, int],
    precision: str,
    profile: Profile,
    runtime: str,
    gpu: str,
) -> dict[str, str]:
    """Cache key of the plans of a model.

    Args:
        model: the network.
        size: (height, width) of the pixels.
        precision: one of :data:`PRECISIONS`.
        profile: sizes that the plans accept.
        runtime: name and version of TensorRT.
        gpu: name and compute capability of the GPU.
    """
    return graph_key(model, size) | {
        "precision": precision,
        "profile": json.dumps(asdict(profile)),
        "runtime": runtime,
        "gpu": gpu,
    }


def timing_cache_name(runtime: str, gpu: str) -> str:
    """File name of TensorRT's timings, which depend on the GPU and the version, but not on the model."""
    name = "".join(c if c.isalnum() else "-" for c in f"{runtime} {gpu}")
    return f"timings-{name}.bin"


class TensorRtEngine(GraphEngine["_LoadedPlan"]):
    """Runs the subgraphs of a model as TensorRT plans.

    Work is queued on the engine's own stream; the caller's stream waits for it, the host does not.

    Args:
        model: the network, or its file; the weights are copied.
        device: "cuda:N".
        precision: "fp16" (float16 weights, layer norms in float32) or "fp32".
        engine_cache: folder of the plans; its listener follows the first build.

    Raises:
        MissingDependencyError: no TensorRT is installed.
        UsageError: another precision, or a device that is no GPU.
        BackendError: PyTorch sees no GPU.
    """

    name = "tensorrt"
    reuses_outputs = True

    def __init__(
        self,
        model: PartModel | ModelFile,
        *,
        device: str = "cuda:0",
        precision: str = "fp16",
        engine_cache: EngineCache = DEFAULT_CACHE,
    ) -> None:
        super().__init__(model, precision=precision, engine_cache=engine_cache)
        self._trt = require_tensorrt()
        if precision not in PRECISIONS:
            raise UsageError(f"tensorrt runs in {' or '.join(PRECISIONS)}, not {precision!r}")
        needs_gpu = f"tensorrt needs a CUDA device, not {device!r}; use openvino or torch on a CPU"
        if not device.startswith("cuda"):
            raise UsageError(needs_gpu)
        if not torch.cuda.is_available():
            raise BackendError(needs_gpu)
        self.device = torch.device(device)
        self._profile = Profile()
        self._stream = torch.cuda.Stream(self.device)
        self._runtime = f"{self._trt.__name__} {self._trt.__version__}"
        properties = torch.cuda.get_device_properties(self.device)
        self._gpu = f"{properties.name} {properties.major}.{properties.minor}"

    def prepare(self, shape: EngineShape) -> None:
        """Build or load the plans, and record CUDA graphs for one query and for the maximum.

        A larger batch or more queries than the profile allows need new plans.
        """
        with self._turn:
            batch, queries = self._profile.batch, self._profile.queries
            if shape.batch > batch[2] or shape.max_queries > queries[2]:
                max_queries = round_up_to_bucket(max(shape.max_queries, queries[2]))
                max_batch = max(shape.batch, batch[2])
                self._profile = Profile((1, batch[1], max_batch), (1, queries[1], max_queries))
                self._graphs.clear()
                self._folders.clear()
        super().prepare(shape)
        spec = self._spec
        pixels = torch.zeros(shape.batch, 3, *shape.size, device=self.device)
        for count in (1, shape.max_queries):
            object_parts = count if spec.answers_object_parts else 0
            placeholder = Conditions.placeholder(spec.condition_dim, count, object_parts)
            self.run(pixels, placeholder)

    def encode(self, pixels: Tensor) -> Features:
        """See :meth:`Engine.encode`."""
        if pixels.shape[0] > self._profile.batch[2]:
            raise BackendError(
                f"this engine takes {self._profile.batch[2]} images at once, not {pixels.shape[0]}; "
                "prepare it for more"
            )
        return super().encode(pixels)

    def find_queries(self, features: Features, names: Tensor) -> ObjectQueries:
        """See :meth:`TensorEngine.find_queries`; as many names as the profile allows."""
        count, limit = names.shape[0], self._profile.queries[2]
        if count > limit:
            raise BackendError(
                f"this engine takes {limit} names at once, not {count}; prepare it for more"
            )
        # Copies of a name change nothing, while zeros would take part in the selection.
        copies = names[-1:].expand(round_up_to_bucket(count) - count, -1)
        found = super().find_queries(features, torch.cat([names, copies]))
        return replace(found, scores=found.scores[..., :count])

    def mask_logits(self, features: Features, mask_embeddings: Tensor) -> Tensor:
        """See :meth:`TensorEngine.mask_logits`; more rows than the profile allows take several passes."""
        parts = []
        for rows in mask_embeddings.split(self._profile.queries[2], 1):
            count = rows.shape[1]
            padded = F.pad(rows, (0, 0, 0, round_up_to_bucket(count) - count))
            parts.append(super().mask_logits(features, padded)[:, :count])
        return torch.cat(parts, 1)

    def _condition_inputs(self, conditions: Conditions) -> tuple[Tensor, ...]:
        rows, max_names = max(map(len, conditions.arrays())), self._profile.queries[2]
        if rows > max_names:  # only joint conditions, which are not split
            raise BackendError(
                f"this engine takes {max_names} names at once, not {rows}, and the model compares all of them "
                "with each other; ask for fewer, or use backend torch"
            )
        return graph_inputs(pad_to_bucket(conditions), self._spec.answers_object_parts)

    def _key(self, size: tuple[int, int]) -> dict[str, str]:
        return plan_key(
            self._source,
            size=size,
            precision=self.precision,
            profile=self._profile,
            runtime=self._runtime,
            gpu=self._gpu,
        )

    def _export(self, folder: Path, subgraph: str, size: tuple[int, int]) -> None:
        with tempfile.TemporaryDirectory() as graphs:
            onnx = Path(graphs) / f"{subgraph}.onnx"
            export_onnx(self._model, onnx, precision=self.precision, subgraph=subgraph, size=size)
            timings = timing_cache_name(self._runtime, self._gpu)
            plan, report = build_plan(
                onnx,
                profile=self._profile,
                timing_cache=self._engine_cache.folder / timings,
                progress=functools.partial(self._tell, subgraph),
            )
        (folder / f"{subgraph}.plan").write_bytes(plan)
        (folder / f"{subgraph}.json").write_text(json.dumps(asdict(report), indent=1))
        log.info("%s: %.0f MB in %.0f s", subgraph, report.plan_bytes / 1e6, report.seconds)

    def _tell(self, subgraph: str, phase: str, done: int, steps: int) -> None:
        self._engine_cache.progress(f"{subgraph}, {phase}: {done} of {steps}")

    def _load(self, folder: Path, subgraph: str) -> _LoadedPlan:
        with torch.cuda.device(self.device):
            return _LoadedPlan(self._trt, folder / f"{subgraph}.plan")

    def _run(self, graph: _LoadedPlan, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        current = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(current)
        with torch.cuda.device(self.device), torch.cuda.stream(self._stream):
            outputs = graph.run(tuple(inputs))
        current.wait_stream(self._stream)
        return outputs


@dataclass(frozen=True)
class _Recorded:
    """Fixed memory for one set of input shapes, and the CUDA graph that reads and writes it.

    The context belongs to the graph alone: setting another shape on it would free memory that the graph uses.
    """

    context: Any
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    graph: torch.cuda.CUDAGraph


class _LoadedPlan:
    """A plan ready to run: per set of input shapes a context, fixed buffers and a CUDA graph.

    Raises:
        BackendError: this TensorRT or GPU does not accept the plan.
    """

    def __init__(self, trt: Any, plan: Path) -> None:
        self._trt = trt
        self._logger = trt.Logger(trt.Logger.WARNING)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if self._engine is None:
            raise BackendError(f"{trt.__name__} {trt.__version__} does not load {plan} on this GPU")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        is_input = trt.TensorIOMode.INPUT
        self._inputs = [name for name in names if self._engine.get_tensor_mode(name) == is_input]
        self._outputs = [name for name in names if name not in self._inputs]
        self._recorded: dict[tuple[torch.Size, ...], _Recorded] = {}

    def _make_context(self) -> Any:
        if not hasattr(self._trt, "DynamicShapesKernelSpecializationStrategy"):
            return self._engine.create_execution_context()
        # TensorRT-RTX compiles kernels for a shape when it first sees it. Lazily, it would do so after the graph
        # was recorded with the slow ones.
        config = self._engine.create_runtime_config()
        strategy = self._trt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategy.EAGER
        return self._engine.create_execution_context(config)

    def run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Queue one call on the current stream; outputs are valid until the next call with these shapes."""
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._recorded:
            self._recorded[shapes] = self._record(inputs)
        recorded = self._recorded[shapes]
        for buffer, tensor in zip(recorded.inputs, inputs, strict=True):
            buffer.copy_(tensor, non_blocking=True)
        recorded.graph.replay()
        return recorded.outputs

    def _record(self, inputs: tuple[Tensor, ...]) -> _Recorded:
        context = self._make_context()
        buffers = tuple(tensor.detach().clone().contiguous() for tensor in inputs)
        for name, buffer in zip(self._inputs, buffers, strict=True):
            if not context.set_input_shape(name, tuple(buffer.shape)):
                profile = self._engine.get_tensor_profile_shape(name, 0)
                raise BackendError(
                    f"{name} of shape {list(buffer.shape)} is outside the engine's {profile}"
                )
            context.set_tensor_address(name, buffer.data_ptr())
        outputs = tuple(self._allocate(context, name) for name in self._outputs)
        stream = torch.cuda.current_stream()
        # The first call compiles and allocates, which may not happen while recording.
        self._enqueue(context, stream)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # With this mode other threads may pin memory meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            self._enqueue(context, torch.cuda.current_stream())
        return _Recorded(context, buffers, outputs, graph)

    def _allocate(self, context: Any, name: str) -> Tensor:
        dtype = getattr(torch, _TORCH_NAMES[self._engine.get_tensor_dtype(name).name])
        buffer = torch.empty(tuple(context.get_tensor_shape(name)), dtype=dtype, device="cuda")
        context.set_tensor_address(name, buffer.data_ptr())
        return buffer

    def _enqueue(self, context: Any, stream: torch.cuda.Stream) -> None:
        if not context.execute_async_v3(stream.cuda_stream):
            raise BackendError(f"{self._trt.__name__} could not run the network; its log says why")


_TORCH_NAMES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT64": "int64",
    "INT32": "int32",
}
