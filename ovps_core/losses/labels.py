"""Label maps on the way to a loss: ids that the loss knows, at the size of the logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class ObjectPartIndex:
    """Where an object-part finds its part and its object among the names: parts, objects,
    background.

    Attributes:
        part: int64 [T], row of the pair's part, 0..P-1.
        object: int64 [T], row of the pair's object, P..P+O-1.
        num_parts: P.
    """

    part: Tensor
    object: Tensor
    num_parts: int

    def to(self, device: torch.device | str) -> ObjectPartIndex:
        """The same rows elsewhere."""
        return ObjectPartIndex(self.part.to(device), self.object.to(device), self.num_parts)


@dataclass(frozen=True)
class PartTargets:
    """What every pixel shows.

    Attributes:
        pairs: int64 [B, H, W], row of the (object, part) pair, ``IGNORE`` off every part.
        objects: int64 [B, H, W], row among the objects that have parts, ``IGNORE`` elsewhere.
    """

    pairs: Tensor
    objects: Tensor

    def resized(self, size: tuple[int, int]) -> PartTargets:
        """The same labels at (height, width) ``size``; see :func:`resize_labels`."""
        return PartTargets(resize_labels(self.pairs, size), resize_labels(self.objects, size))


def resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest neighbour with floor indexing, as ``torch`` mode "nearest": row i takes floor(i * H
    / h).

    Args:
        labels: int64 [..., H, W].
        size: (h, w) of the result.

    Returns:
        int64 [..., h, w].
    """
    if tuple(labels.shape[-2:]) == tuple(size):
        return labels
    flat = labels.reshape(-1, 1, *labels.shape[-2:])
    # float64 holds every id, and torch has no integer resize for int64
    resized = functional.interpolate(flat.double(), size=size, mode="nearest")
    return resized.to(labels.dtype).reshape(*labels.shape[:-2], *size)
