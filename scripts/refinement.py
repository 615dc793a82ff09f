"""Refinement of class maps without parameters (ideas of HOPS, a relative of PartCATSeg): attention and crops.

A map over N cells is sharpened by an N x N matrix that says which cells belong together: the self-attention of an
image tower, or any other affinity. Only the equations were taken over. A^l is the attention of layer l after its
softmax, averaged over heads and without the class token; rows are queries.

No model uses these functions by itself. docs/notebook/refinement.md has what they change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovps_core.pipeline.preprocess import RgbImage, check_image
from ovps_core.structures.boxes import Box

_STRONGEST = 0.05  # share of the pairs of a layer that the second term of fused attention keeps
_ROUNDS = 5  # how often rows, then columns, are divided by their sums


def attention_votes(attention: Tensor, more_than: int) -> Tensor:
    """Pairs of cells whose attention is above average in more than ``more_than`` layers, bool [B, N, N].

    V_ij = [ #{l : A^l_ij > mean of A^l} > more_than ].

    Args:
        attention: float [B, L, N, N].
        more_than: number of layers.
    """
    above = attention > attention.mean(dim=(2, 3), keepdim=True)
    return above.sum(dim=1) > more_than


def likely_classes(probabilities: Tensor, margin: float = 0.2) -> Tensor:
    """Classes of each cell that come within ``margin`` of its best one, bool [B, N, C].

    Args:
        probabilities: float [B, N, C].
        margin: distance in probability.
    """
    return probabilities > probabilities.amax(dim=-1, keepdim=True) - margin


def filter_by_attention(scores: Tensor, attention: Tensor, more_than: int = 4) -> Tensor:
    """Attention filter (AFM): each cell becomes the sum of cells that most layers connect it to.

    S' = (V o mean_l A^l) S. The rows of the matrix do not sum to 1, so scores shrink, and a cell without votes
    becomes 0 for every class: compare the classes of one cell, never a score with a threshold.

    Args:
        scores: float [B, N, C], such as cosines of cells and class names. To leave out what a cell surely is not,
            multiply them by :func:`likely_classes` first.
        attention: float [B, L, N, N].
        more_than: see :func:`attention_votes`.

    Returns:
        float [B, N, C].
    """
    return (attention_votes(attention, more_than) * attention.mean(dim=1)) @ scores


def fuse_attention(attention: Tensor, other: Tensor, alpha: float) -> Tensor:
    """Attention of one image tower corrected by another's on the same cells.

    alpha A o softmax over queries of A' + (1 - alpha) A' o [A is among the strongest], for every layer.

    Args:
        attention: A float [B, L, N, N], of the tower that knows the words (CLIP).
        other: A' float [B, L, N, N], of the tower that separates things well (DINO).
        alpha: weight of the first term, 0 to 1.

    Returns:
        float [B, L, N, N].
    """
    flat = attention.flatten(2)
    lowest = flat.kthvalue(int((1 - _STRONGEST) * flat.shape[-1]), dim=-1).values[..., None, None]
    return alpha * attention * other.softmax(dim=-2) + (1 - alpha) * other * (attention >= lowest)


def doubly_normalised(affinity: Tensor) -> Tensor:
    """Affinity float [..., N, N] whose rows and columns sum to about 1 (Sinkhorn and Knopp, 1967).

    Args:
        affinity: positive, float [..., N, N].
    """
    for _ in range(_ROUNDS):
        affinity = affinity / affinity.sum(dim=-1, keepdim=True)
        affinity = affinity / affinity.sum(dim=-2, keepdim=True)
    return affinity


def spread_by_affinity(scores: Tensor, affinity: Tensor) -> Tensor:
    """Affinity refinement (AEM): each cell becomes a mean over the cells that belong to it.

    S' = (D + D^T) / 2 S, with D the affinity after :func:`doubly_normalised`.

    Args:
        scores: float [..., N, C].
        affinity: positive, float [..., N, N], such as the mean attention of all layers.
    """
    balanced = doubly_normalised(affinity)
    return (balanced + balanced.transpose(-1, -2)) / 2 @ scores


@dataclass(frozen=True)
class ObjectCrop:
    """An object cut out of an image.

    Attributes:
        label: of the object.
        box: its tight box, pixels of the image.
        mask: bool [H, W], its pixels in the image.
        pixels: float32 [3, h, w], 0 to 255: the box at the network's size, aspect ratio lost, other objects black.
    """

    label: int
    box: Box
    mask: NDArray[np.bool_]
    pixels: Tensor

    def paste(self, logits: Tensor) -> Tensor:
        """Probabilities float [T, H, W] in the image, 0 outside the object, from logits float [T, h, w]."""
        height, width = self.box.height, self.box.width
        inside = _resized(logits, height, width).sigmoid()
        whole = logits.new_zeros(len(logits), *self.mask.shape)
        rows, columns = self.box.slices
        whole[:, rows, columns] = inside
        return whole * torch.from_numpy(self.mask).to(whole)


def object_crops(
    image: RgbImage, labels: NDArray[np.integer], size: tuple[int, int], background: int
) -> Iterator[ObjectCrop]:
    """Each object of a label map as a picture of its own, in the order of the labels.

    Args:
        image: RGB uint8 [H, W, 3].
        labels: integer [H, W].
        size: (height, width) of the network's input, pixels.
        background: label that is no object.

    Raises:
        ImageError: not an image.
    """
    check_image(image)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()
    for label in np.unique(labels):
        if label == background:
            continue
        mask = np.asarray(labels == label)
        box = Box.of_mask(mask)
        rows, columns = box.slices
        alone = pixels[:, rows, columns] * torch.from_numpy(mask[rows, columns])
        yield ObjectCrop(int(label), box, mask, _resized(alone, *size))


def _resized(maps: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(maps[None], size=(height, width), mode="bilinear", align_corners=False)[0]
