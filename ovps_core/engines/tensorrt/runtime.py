"""TensorRT on a GPU: fp16 engines, PyTorch's tensors by pointer, a CUDA graph for each number of queries."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovps_core.engines.chunking import pad_to_bucket, pad_with_dummy_object_part, round_up_to_bucket
from ovps_core.engines.engine_cache import DEFAULT_CACHE, EngineCache
from ovps_core.engines.interface import Engine, EngineShape
from ovps_core.engines.subgraphs import SUBGRAPHS
from ovps_core.engines.tensorrt.build import Profile, require_tensorrt
from ovps_core.engines.tensorrt.cache import plan_key, plans
from ovps_core.errors import BackendError
from ovps_core.models.interface import Conditions, Features, PartLogits, PartModel

PRECISIONS = ("fp16", "fp32")
log = logging.getLogger(__name__)


class TensorRtEngine(Engine):
    """The network's two halves as TensorRT engines, kept on disk after the first start.

    Work is queued on a stream of the engine's own; the caller's stream waits for it, the host does not.

    Args:
        model: the network; its weights are copied.
        device: "cuda:N".
        precision: "fp16" (half weights, layer norms in fp32) or "fp32".
        cache: where the engines are kept; is told how a first build advances.

    Raises:
        BackendError: no TensorRT, no GPU, or another precision.
    """

    name = "tensorrt"

    def __init__(
        self,
        model: PartModel,
        *,
        device: str = "cuda:0",
        precision: str = "fp16",
        cache: EngineCache = DEFAULT_CACHE,
    ) -> None:
        super().__init__()
        self._trt = require_tensorrt()
        if precision not in PRECISIONS:
            raise BackendError(f"tensorrt runs in {' or '.join(PRECISIONS)}, not {precision!r}")
        if not device.startswith("cuda") or not torch.cuda.is_available():
            raise BackendError(
                f"tensorrt needs a CUDA device, not {device!r}; use openvino or torch on a CPU"
            )
        self.device = torch.device(device)
        self.precision = precision
        self._model = model
        self._cache = cache
        self._profile = Profile()
        self._stream = torch.cuda.Stream(self.device)
        self._halves: dict[tuple[int, int], tuple[_Half, _Half]] = {}

    def prepare(self, shape: EngineShape) -> None:
        """Build or load the engines, and record the graphs for one query and for the most.

        A larger batch or more queries than the profile has are another engine.
        """
        batch, queries = self._profile.batch, self._profile.queries
        if shape.batch > batch[2] or shape.max_queries > queries[2]:
            most = (
                max(shape.batch, batch[2]),
                round_up_to_bucket(max(shape.max_queries, queries[2])),
            )
            self._profile = Profile((1, batch[1], most[0]), (1, queries[1], most[1]))
            self._halves.clear()
        self.max_queries = shape.max_queries
        self._load(shape.size)
        pixels = torch.zeros(shape.batch, 3, *shape.size, device=self.device)
        for count in (1, shape.max_queries):
            words = torch.zeros(count, self._model.spec.condition_dim)
            rows = torch.zeros(
                count if self._model.spec.answers_object_parts else 0, dtype=torch.int64
            )
            self.run(pixels, Conditions(words, words[: len(rows)], rows, rows))

    def encode(self, pixels: Tensor) -> Features:
        """See :meth:`Engine.encode`."""
        if pixels.shape[0] > self._profile.batch[2]:
            raise BackendError(
                f"this engine takes {self._profile.batch[2]} images at once, not {pixels.shape[0]}; "
                "prepare it for more"
            )
        height, width = pixels.shape[-2:]
        encode, _ = self._load((height, width))
        return Features(self._run(encode, (pixels.float(),)), (height, width))

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """See :meth:`Engine.decode`."""
        _, decode = self._load(features.size)  # the halves of one size know each other by it
        count, pairs = conditions.names.shape[0], conditions.object_parts.shape[0]
        padded = pad_to_bucket(pad_with_dummy_object_part(conditions))
        asked = padded.tensors() if self._model.spec.answers_object_parts else (padded.names,)
        logits = self._run(decode, (*features.levels, *asked))
        # What a graph writes is its own memory, which its next replay overwrites.
        names = logits[0][:, :count].clone()
        return PartLogits(names, logits[1][:, :pairs].clone() if pairs else names[:, :0])

    def _run(self, half: _Half, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        current = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(current)
        with torch.cuda.device(self.device), torch.cuda.stream(self._stream):
            outputs = half.run(inputs)
        current.wait_stream(self._stream)
        return outputs

    def _load(self, size: tuple[int, int]) -> tuple[_Half, _Half]:
        if size not in self._halves:
            started = time.perf_counter()
            properties = torch.cuda.get_device_properties(self.device)
            key = plan_key(
                self._model,
                size=size,
                precision=self.precision,
                profile=self._profile,
                runtime=f"{self._trt.__name__} {self._trt.__version__}",
                gpu=f"{properties.name} {properties.major}.{properties.minor}",
            )
            folder = plans(self._model, key, size=size, profile=self._profile, cache=self._cache)
            with torch.cuda.device(self.device):
                halves = [_Half(self._trt, folder / f"{half}.plan") for half in SUBGRAPHS]
            self._halves[size] = halves[0], halves[1]
            log.info("tensorrt ready for %dx%d in %.1f s", *size, time.perf_counter() - started)
        return self._halves[size]


@dataclass(frozen=True)
class _Recorded:
    """Fixed memory of one shape, and the graph that reads and writes it.

    The context is the graph's own: setting another shape on it would pull memory from under the graph.
    """

    context: Any
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    graph: torch.cuda.CUDAGraph


class _Half:
    """One engine, and per shape of its inputs a context, fixed buffers and a CUDA graph.

    Raises:
        BackendError: this TensorRT or GPU does not take the plan.
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
        # TensorRT-RTX compiles kernels for a shape when it first sees it; lazily, it would do so behind a graph
        # that has already been recorded with the slow ones.
        config = self._engine.create_runtime_config()
        strategy = self._trt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategy.EAGER
        return self._engine.create_execution_context(config)

    def run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Queue one call on the current stream; outputs live until the next call with these shapes."""
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
        self._enqueue(context, stream)  # compiles and allocates what may not happen while recording
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads may pin memory meanwhile.
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
