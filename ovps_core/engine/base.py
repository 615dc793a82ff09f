"""One interface for every way to run a network: prepare for shapes, then run frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from ovps_core.models.base import Conditions, PartLogits


@dataclass(frozen=True)
class EngineShape:
    """What an engine is prepared for.

    Attributes:
        batch: images per call.
        size: (height, width) of the pixels.
        max_queries: most names or pairs in one call; more are run in chunks.
    """

    batch: int
    size: tuple[int, int]
    max_queries: int


class Engine(ABC):
    """A network ready to run.

    Attributes:
        name: as a user names it: "torch", "openvino", ...
        precision: what the arithmetic is done in: "fp32", "bf16", "fp16", "int8".
    """

    name: str
    precision: str

    @abstractmethod
    def prepare(self, shape: EngineShape) -> None:
        """Compile, allocate and warm up for ``shape``; later calls with other shapes still work.

        Raises:
            BackendError: this engine cannot run the model; the message says why and what else can.
        """

    @abstractmethod
    def run(self, pixels: Tensor, conditions: Conditions) -> PartLogits:
        """Normalised pixels float [B, 3, H, W] and conditions -> float32 logits."""
