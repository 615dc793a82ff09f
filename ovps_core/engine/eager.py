"""PyTorch as it is: every model, every device, no preparation."""

from __future__ import annotations

import torch
from torch import Tensor

from ovps_core.engine.base import Engine, EngineShape
from ovps_core.errors import BackendError
from ovps_core.models.base import Conditions, PartLogits, PartModel

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class EagerEngine(Engine):
    """The network in PyTorch.

    Raises:
        BackendError: the device or the precision cannot be had.
    """

    name = "torch"

    def __init__(self, model: PartModel, *, device: str = "cpu", precision: str = "fp32") -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise BackendError(
                f"device {device!r} was asked for, but PyTorch sees no CUDA device; use cpu"
            )
        if precision not in _DTYPES:
            raise BackendError(f"torch runs in {', '.join(_DTYPES)}, not {precision!r}")
        self.model = model.to(device)
        self.device = torch.device(device)
        self.precision = precision

    def prepare(self, shape: EngineShape) -> None:
        """Nothing to do: eager PyTorch takes any shape."""

    @torch.inference_mode()
    def run(self, pixels: Tensor, conditions: Conditions) -> PartLogits:
        """See :meth:`Engine.run`."""
        pixels, conditions = pixels.to(self.device), conditions.to(self.device)
        dtype = _DTYPES[self.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32):
            logits = self.model.decode(self.model.encode(pixels), conditions)
        return PartLogits(logits.names.float(), logits.pairs.float())
