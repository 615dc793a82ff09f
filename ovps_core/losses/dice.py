"""The soft Dice loss over class probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from ovps_core.language.vocabulary import IGNORE


def dice_loss(probabilities: Tensor, labels: Tensor) -> Tensor:
    """1 - soft Dice, averaged over the classes in the batch (Milletari et al., V-Net, 3DV 2016).

    A small class counts as much as a large one. The background, class 0, does not count.

    Args:
        probabilities: float [B, C, h, w], 0 to 1, e.g. a softmax over C.
        labels: int64 [B, h, w], class of each pixel; pixels of ``IGNORE`` do not count.

    Returns:
        A scalar, 0 to 1; 0 if the batch shows nothing but background.
    """
    classes = probabilities.shape[1]
    known = labels != IGNORE
    labels = labels.clamp(min=0)
    hit = probabilities.gather(1, labels[:, None])[:, 0] * known
    overlap = torch.zeros(classes, device=hit.device).index_add(0, labels.flatten(), hit.flatten())
    truth = torch.zeros_like(overlap).index_add(0, labels.flatten(), known.flatten().to(hit.dtype))
    total = (probabilities * known[:, None]).sum(dim=(0, 2, 3)) + truth
    present = truth > 0
    present[0] = False
    losses = 1 - 2 * overlap / total.clamp(min=1e-6)
    mean: Tensor = (losses * present).sum() / present.sum().clamp(min=1)
    return mean
