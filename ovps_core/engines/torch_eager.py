"""PyTorch in eager mode: every model, every device, no preparation."""

from __future__ import annotations

import torch
from torch import Tensor

from ovps_core.engines.interface import EngineShape
from ovps_core.engines.low_precision import inference_copy
from ovps_core.engines.tensor_engine import TensorEngine
from ovps_core.errors import BackendError, UsageError
from ovps_core.models.interface import Conditions, Features, PartLogits
from ovps_core.models.network import PartModel
from ovps_core.models.objects import ObjectModel, ObjectQueries

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class EagerEngine(TensorEngine):
    """The network in PyTorch.

    Args:
        model: the network. In fp32 it is used itself and moves to ``device``; in 16 bit a copy is made.
        device: "cpu" or "cuda:N".
        precision: "fp32", "bf16" or "fp16".

    Raises:
        UsageError: another precision.
        BackendError: PyTorch sees no such device.
    """

    name = "torch"

    def __init__(self, model: PartModel, *, device: str = "cpu", precision: str = "fp32") -> None:
        super().__init__()
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise BackendError(
                f"device {device!r} was asked for, but PyTorch sees no CUDA device; use cpu"
            )
        if precision not in DTYPES:
            raise UsageError(f"{self.name} runs in {', '.join(DTYPES)}, not {precision!r}")
        self.device = torch.device(device)
        self.precision = precision
        self.dtype = DTYPES[precision]
        if precision != "fp32":
            model = inference_copy(model, self.dtype)
        self.model = model.to(self.device)

    def prepare(self, shape: EngineShape) -> None:
        """Set :attr:`max_queries`; eager PyTorch takes any shape."""
        self.max_queries = shape.max_queries

    def encode(self, pixels: Tensor) -> Features:
        """See :meth:`Engine.encode`."""
        return self.model.encode(pixels.to(self.dtype))

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """See :meth:`Engine.decode`."""
        logits = self.model.decode(features, conditions.to(self.device, self.dtype))
        return PartLogits(logits.names.float(), logits.object_parts.float())

    def find_queries(self, features: Features, names: Tensor) -> ObjectQueries:
        """See :meth:`TensorEngine.find_queries`."""
        found = self._objects.find_queries(features, names.to(self.dtype))
        return ObjectQueries(
            found.boxes_cxcywh.float(),
            found.scores.float(),
            found.mask_embeddings.float(),
            found.instances,
        )

    def embed_boxes(self, features: Features, boxes: Tensor, names: Tensor) -> Tensor:
        """See :meth:`TensorEngine.embed_boxes`."""
        inputs = boxes.to(self.dtype), names.to(self.dtype)
        return self._objects.embed_boxes(features, *inputs).float()

    def mask_logits(self, features: Features, mask_embeddings: Tensor) -> Tensor:
        """See :meth:`TensorEngine.mask_logits`."""
        return self._objects.mask_logits(features, mask_embeddings.to(self.dtype)).float()

    @property
    def _objects(self) -> ObjectModel:
        if not isinstance(self.model, ObjectModel):
            raise self._no_objects()
        return self.model
