"""torch.compile: PyTorch's own code generator, with CUDA graphs on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from ovps_core.engines.chunking import pad_to_bucket, round_up_to_bucket
from ovps_core.engines.interface import EngineShape
from ovps_core.engines.torch_eager import EagerEngine
from ovps_core.errors import BackendError
from ovps_core.models.interface import Conditions, Features, PartLogits
from ovps_core.models.network import PartModel

P = ParamSpec("P")
T = TypeVar("T")
_MAX_GRAPHS = 64


def _more_graphs() -> AbstractContextManager[Any]:
    """Raise PyTorch's limit of graphs per function, past which it would continue uncompiled without a word.

    There is one graph per combination of two powers of two.
    """
    return torch._dynamo.config.patch(recompile_limit=_MAX_GRAPHS)


class CompiledEngine(EagerEngine):
    """The network through torch.compile.

    On a GPU encoder and decoder are CUDA graphs (``mode="reduce-overhead"``), one for each number of names and of
    object parts. Both numbers are rounded up to a power of two, so that there are few graphs. On a CPU one graph
    takes every number.

    Raises:
        UsageError: see :class:`EagerEngine`.
        BackendError: see :class:`EagerEngine`; also if no C++ compiler is found for a CPU.
    """

    name = "compiled"

    def __init__(self, model: PartModel, *, device: str = "cpu", precision: str = "fp32") -> None:
        super().__init__(model, device=device, precision=precision)
        self._on_gpu = self.device.type == "cuda"
        options: dict[str, Any] = {"mode": "reduce-overhead"} if self._on_gpu else {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compiled")
        self._encode = torch.compile(self.model.encode, dynamic=False, **options)
        self._decode = torch.compile(self.model.decode, dynamic=not self._on_gpu, **options)

    def prepare(self, shape: EngineShape) -> None:
        """Compile encoder and decoder now; on a GPU also record graphs for one query and for the maximum."""
        super().prepare(shape)
        pixels = torch.zeros(shape.batch, 3, *shape.size, device=self.device)
        counts = (
            sorted({round_up_to_bucket(1), round_up_to_bucket(shape.max_queries)})
            if self._on_gpu
            else [3, 5]
        )
        spec = self.model.spec
        try:
            for count in counts * 3:  # a CUDA graph warms up, records, then replays
                object_parts = count if spec.answers_object_parts else 0
                placeholder = Conditions.placeholder(spec.condition_dim, count, object_parts)
                self.run(pixels, placeholder)
        except Exception as error:  # the compiler raises errors of every kind
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

    def _in_one_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Graphs belong to the thread that recorded them, and a node warms up in another than it works in."""
        if not self._on_gpu:
            return work(*args, **kwargs)
        return self._thread.submit(torch.inference_mode()(work), *args, **kwargs).result()

    def _encode_here(self, pixels: Tensor) -> Features:
        if self._on_gpu:
            torch.compiler.cudagraph_mark_step_begin()
        with _more_graphs():
            return self._encode(pixels.to(self.dtype))

    def _decode_here(self, features: Features, conditions: Conditions) -> PartLogits:
        names, object_parts = conditions.names.shape[0], conditions.object_parts.shape[0]
        conditions = conditions.to(self.device, self.dtype)
        if self._on_gpu:
            conditions = pad_to_bucket(conditions)
        with _more_graphs():
            logits = self._decode(features, conditions)
        # The next replay overwrites a graph's outputs.
        return PartLogits(
            logits.names[:, :names].to(torch.float32, copy=self._on_gpu),
            logits.object_parts[:, :object_parts].to(torch.float32, copy=self._on_gpu),
        )
