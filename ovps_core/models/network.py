"""Base class of the networks, in PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ovps_core.models.interface import Conditions, Features, ModelSpec, PartLogits

if TYPE_CHECKING:
    from ovps_core.models.objects import ObjectPredictions


class PartModel(nn.Module, ABC):
    """Base of every network. It handles tensors only: no strings, no files, no choice of device.

    Attributes:
        spec: see :class:`ModelSpec`.
        config: configuration of the network, a frozen dataclass of the family.
    """

    spec: ModelSpec
    config: Any

    @abstractmethod
    def encode(self, pixels: Tensor) -> Features:
        """Normalised pixels float [B, 3, H, W] -> features; once per image."""

    @abstractmethod
    def decode(
        self, features: Features, conditions: Conditions, objects: ObjectPredictions | None = None
    ) -> PartLogits:
        """Mask logits of all conditions in one call.

        Args:
            objects: object instances to decode parts in, for families that can; others ignore them.
        """

    def forward(
        self,
        pixels: Tensor,
        names: Tensor,
        object_parts: Tensor,
        part_index: Tensor,
        object_index: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Encode and decode plain tensors, in the form that engines export; see :class:`Conditions`."""
        conditions = Conditions(names, object_parts, part_index, object_index)
        logits = self.decode(self.encode(pixels), conditions)
        return logits.names, logits.object_parts
