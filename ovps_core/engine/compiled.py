"""torch.compile: PyTorch's own code generator, with CUDA graphs on a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ovps_core.engine.base import EngineShape
from ovps_core.engine.chunks import bucket, rounded_up
from ovps_core.engine.eager import EagerEngine
from ovps_core.errors import BackendError
from ovps_core.models.base import Conditions, Features, PartLogits, PartModel


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
        self._encode = torch.compile(self.model.encode, dynamic=False, **options)
        self._decode = torch.compile(self.model.decode, dynamic=not self._on_gpu, **options)

    def prepare(self, shape: EngineShape) -> None:
        """Compile both halves now; the GPU also records its graph for one query and for the most."""
        super().prepare(shape)
        pixels = torch.zeros(shape.batch, 3, *shape.size, device=self.device)
        counts = sorted({bucket(1), bucket(shape.max_queries)}) if self._on_gpu else [3, 5]
        try:
            for count in counts * 3:  # a CUDA graph warms up, records, then replays
                rows = torch.zeros(count, dtype=torch.int64)
                words = torch.zeros(count, self.model.condition_dim)
                pairs = words if self.model.has_pairs else words[:0]
                self.run(pixels, Conditions(words, pairs, rows[: len(pairs)], rows[: len(pairs)]))
        except Exception as error:  # the compiler raises whatever it meets
            reason = str(error).strip().splitlines()[0][:200]
            raise BackendError(
                f"torch.compile failed ({reason}); on a CPU it needs a C++ compiler. Use backend torch"
            ) from error

    def encode(self, pixels: Tensor) -> Features:
        """See :meth:`Engine.encode`."""
        if self._on_gpu:
            torch.compiler.cudagraph_mark_step_begin()
        return self._encode(pixels.to(self.dtype))

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """See :meth:`Engine.decode`."""
        count, pairs = conditions.names.shape[0], conditions.pairs.shape[0]
        conditions = conditions.to(self.device, self.dtype)
        if self._on_gpu:
            conditions = rounded_up(conditions)
        logits = self._decode(features, conditions)
        # The next replay overwrites a graph's outputs: float() copies 16 bit, fp32 must be cloned.
        names = logits.names[:, :count].float()
        both = names, logits.pairs[:, :pairs].float()
        if self._on_gpu and self.dtype is torch.float32:
            both = both[0].clone(), both[1].clone()
        return PartLogits(*both)
