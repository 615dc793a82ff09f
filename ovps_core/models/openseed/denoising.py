"""Denoising queries: boxes of the ground truth with noise, from which the decoder learns to find the objects.

Training with them (DN-DETR, Li et al., CVPR 2022) is what makes decoding a mask from a name and a box work.
OpenSeeD puts the text of the name in place of a label embedding, and flips no labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ovps_core.models.openseed.query_selection import anchors_of

Uniform = Callable[[Sequence[int]], Tensor]
"""Random numbers in 0..1 of a shape, ``torch.rand`` by default."""
MAX_QUERIES = 100
# Centres move by up to this share of half the box, sides change by up to this share.
_BOX_NOISE = 0.4


@dataclass(frozen=True)
class DenoisingQueries:
    """Noisy copies of the ground truth, in groups that hold each object of an image once.

    Attributes:
        labels: int64 [B, groups * group_size], row of the names; -1 in an unused slot.
        anchors: float [B, groups * group_size, 4], logits of the noisy boxes; 0 in an unused slot.
        groups: number of groups.
        group_size: slots per group, the highest number of objects in an image of the batch.
    """

    labels: Tensor
    anchors: Tensor
    groups: int
    group_size: int

    def contents(self, embedded_names: Tensor) -> Tensor:
        """Contents float [B, N, dim] from the query of each name float [K, dim]; 0 in unused slots."""
        used = (self.labels >= 0)[..., None]
        return embedded_names[self.labels.clamp(min=0)] * used


def denoising_queries(
    labels: Sequence[Tensor],
    boxes: Sequence[Tensor],
    *,
    max_queries: int = MAX_QUERIES,
    of_many_objects: bool = True,
    uniform: Uniform = torch.rand,
) -> DenoisingQueries | None:
    """Make denoising queries of a batch; None if no image has an object, or one has too many.

    Args:
        labels: per image int64 [n], row of the names.
        boxes: per image float [n, 4], (cx, cy, w, h) in 0..1.
        max_queries: upper limit of groups times slots, if one group fits.
        of_many_objects: make one group if none fits; the release makes none then.
        uniform: source of random numbers.
    """
    counts = [len(image) for image in labels]
    group_size = max(counts, default=0)
    if group_size == 0 or (group_size > max_queries and not of_many_objects):
        return None
    groups = max(1, max_queries // group_size)
    device, dtype = boxes[0].device, boxes[0].dtype
    all_boxes = torch.cat(list(boxes)).repeat(groups, 1)
    draws = uniform((len(all_boxes), 4)).to(device, dtype) * 2 - 1
    sides = all_boxes[:, 2:]
    reach = torch.cat([sides / 2, sides], -1)
    noisy = (all_boxes + draws * reach * _BOX_NOISE).clamp(0, 1)
    image = torch.cat([torch.full((n,), i) for i, n in enumerate(counts)]).repeat(groups)
    slot = torch.cat([torch.arange(n) for n in counts]).repeat(groups)
    slot += torch.arange(groups).repeat_interleave(sum(counts)) * group_size
    all_labels = torch.full((len(counts), groups * group_size), -1, device=device)
    all_labels[image, slot] = torch.cat(list(labels)).repeat(groups)
    anchors = torch.zeros(len(counts), groups * group_size, 4, device=device, dtype=dtype)
    anchors[image, slot] = anchors_of(noisy)
    return DenoisingQueries(all_labels, anchors, groups, group_size)
