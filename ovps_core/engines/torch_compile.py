"""torch.compile: PyTorch's own code generator, with CUDA graphs on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from ovps_core.engines.chunking import pad_to_bucket, round_up_to_bucket
from ovps_core.engines.interface import EngineShape
from ovps_core.engines.torch_eager import EagerEngine
from ovps_core.errors import BackendError
from ovps_core.models.interface import Conditions, Features, PartLogits, PartModel

P = ParamSpec("P")
T = TypeVar("T")
_MAX_GRAPHS = 64


class CompiledEngine(EagerEngine):
    """The network through torch.compile.

    On a GPU each half is a CUDA graph (``mode="reduce-overhead"``), one for each number of names and pairs; both
    are rounded up to a power of two, so that there are few. On a CPU one graph takes every number.

    Raises:
        BackendError: see :class:`EagerEngine`; also where no C++ compiler is found for a CPU.
    """

    name = "compiled"

    def __init__(self, model: PartModel, *, device: str = "cpu", precision: str = "fp32") -> None:
        super().__init__(model, device=device, precision=precision)
        self._on_gpu = self.device.type == "cuda"
        options: dict[str, Any] = {"mode": "reduce-overhead"} if self._on_gpu else {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compiled")
        # One graph for each pair of powers of two; past the limit PyTorch would go on uncompiled, saying nothing.
        limits = torch._dynamo.config
        limits.recompile_limit = max(limits.recompile_limit, _MAX_GRAPHS)
        self._encode = torch.compile(self.model.encode, dynamic=False, **options)
        self._decode = torch.compile(self.model.decode, dynamic=not self._on_gpu, **options)

    def prepare(self, shape: EngineShape) -> None:
        """Compile both halves now; the GPU also records its graph for one query and for the most."""
        super().prepare(shape)
        pixels = torch.zeros(shape.batch, 3, *shape.size, device=self.device)
        counts = (
            sorted({round_up_to_bucket(1), round_up_to_bucket(shape.max_queries)})
            if self._on_gpu
            else [3, 5]
        )
        try:
            for count in counts * 3:  # a CUDA graph warms up, records, then replays
                rows = torch.zeros(count, dtype=torch.int64)
                words = torch.zeros(count, self.model.spec.condition_dim)
                pairs = words if self.model.spec.answers_object_parts else words[:0]
                self.run(pixels, Conditions(words, pairs, rows[: len(pairs)], rows[: len(pairs)]))
        except Exception as error:  # the compiler raises whatever it meets
            reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
            raise BackendError(
                f"torch.compile failed ({reason}); on a CPU it needs a C++ compiler. Use backend torch"
            ) from error

    def encode(self, pixels: Tensor) -> Features:
        """See :meth:`Engine.encode`."""
        return self._in_one_thread(self._encode_here, pixels)

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """See :meth:`Engine.decode`."""
        return self._in_one_thread(self._decode_here, features, conditions)

    def _in_one_thread(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Graphs belong to the thread that recorded them, and a node warms up in another than it works in."""
        if not self._on_gpu:
            return work(*arguments, **named)
        return self._thread.submit(torch.inference_mode()(work), *arguments, **named).result()

    def _encode_here(self, pixels: Tensor) -> Features:
        if self._on_gpu:
            torch.compiler.cudagraph_mark_step_begin()
        return self._encode(pixels.to(self.dtype))

    def _decode_here(self, features: Features, conditions: Conditions) -> PartLogits:
        count, pairs = conditions.names.shape[0], conditions.object_parts.shape[0]
        conditions = conditions.to(self.device, self.dtype)
        if self._on_gpu:
            conditions = pad_to_bucket(conditions)
        logits = self._decode(features, conditions)
        # The next replay overwrites a graph's outputs.
        return PartLogits(
            logits.names[:, :count].to(torch.float32, copy=self._on_gpu),
            logits.object_parts[:, :pairs].to(torch.float32, copy=self._on_gpu),
        )
