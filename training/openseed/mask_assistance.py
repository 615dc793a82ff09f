"""Mask assistance: masks decoded from boxes and names, for data that have boxes only (Zhang et al., ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ovps_core.losses.matching import ObjectTargets
from ovps_core.models.interface import Features
from ovps_core.models.openseed.model import OpenSeeD


@torch.no_grad()
def with_assisting_masks(
    model: OpenSeeD, features: Features, names: Tensor, targets: Sequence[ObjectTargets]
) -> list[ObjectTargets]:
    """The targets of a batch, with decoded masks where the data set has none.

    No gradient flows through them. They are as good as the conditioned decoding is at this step of the training.

    Args:
        model: the network that is trained.
        features: of the batch.
        names: float [K, D], normalised; labels are its rows.
        targets: one entry per image.
    """
    assisted = []
    for index, target in enumerate(targets):
        if target.masks is None and len(target.labels):
            levels = tuple(level[index : index + 1] for level in features.levels)
            image = replace(features, levels=levels)
            boxes = target.boxes_cxcywh[None]
            logits = model.decode_masks(image, boxes, names[target.labels][None])[0]
            target = replace(target, assisting_masks=logits > 0)
        assisted.append(target)
    return assisted
