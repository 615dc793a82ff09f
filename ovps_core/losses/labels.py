"""Label maps as the losses read them: row numbers of the names, at the size of the logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class ObjectPartIndex:
    """Rows of each object-part's part and object among the names (parts, objects, background).

    Attributes:
        part: int64 [T], row of the object-part's part, 0..P-1.
        object: int64 [T], row of the object-part's object, P..P+O-1.
        num_parts: P.
    """

    part: Tensor
    object: Tensor
    num_parts: int

    def to(self, device: torch.device | str) -> ObjectPartIndex:
        """Return the same rows on ``device``."""
        return ObjectPartIndex(self.part.to(device), self.object.to(device), self.num_parts)


@dataclass(frozen=True)
class PartTargets:
    """Ground-truth labels of every pixel. ``UNKNOWN`` pixels of a map do not count in losses and scores.

    Attributes:
        object_parts: int64 [B, H, W], row of the object-part (0..T-1), ``IGNORE`` outside every part.
        objects: int64 [B, H, W], row among the objects that have parts (0..O-1), ``IGNORE`` elsewhere.
    """

    object_parts: Tensor
    objects: Tensor

    def resized(self, size: tuple[int, int], *, shifted: bool = False) -> PartTargets:
        """Return the labels at (height, width) ``size``; see :func:`resize_labels`."""
        return PartTargets(
            resize_labels(self.object_parts, size, shifted=shifted),
            resize_labels(self.objects, size, shifted=shifted),
        )


def resize_labels(labels: Tensor, size: tuple[int, int], *, shifted: bool = False) -> Tensor:
    """Resize by nearest neighbour: row i of h rows takes the row at its centre, floor((i + 0.5) * H / h).

    Args:
        labels: int64 [..., H, W].
        size: (h, w) of the result.
        shifted: as released: row floor(i * H / h), which moves labels by up to half a pixel.

    Returns:
        int64 [..., h, w].
    """
    if tuple(labels.shape[-2:]) == tuple(size):
        return labels
    flat = labels.reshape(-1, 1, *labels.shape[-2:])
    # torch has no integer resize for int64; float64 holds every id exactly
    resized = F.interpolate(
        flat.double(), size=size, mode="nearest" if shifted else "nearest-exact"
    )
    return resized.to(labels.dtype).reshape(*labels.shape[:-2], *size)
