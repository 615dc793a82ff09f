"""The two benchmark settings, Pred-All and Oracle-Obj: from a model's logits to one label a pixel.

Oracle-Obj knows which objects are in the item and asks only for their parts. Pred-All knows nothing: the
object maps decide the object of a pixel first, then its parts compete. Maps are brought to the image's size
in groups of classes, so that memory does not grow with the vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import Enum

import torch
from torch import Tensor
from torch.nn import functional

from ovps_core.data.vocabulary import Vocabulary
from ovps_core.errors import OvpsError
from ovps_core.models.base import PartLogits

GROUP = 32
"""Classes that are at the image's size at a time."""


class Setting(str, Enum):
    """What the model is told about an image."""

    PRED_ALL = "pred-all"
    ORACLE_OBJ = "oracle-obj"


def check_logits(logits: PartLogits, vocabulary: Vocabulary) -> None:
    """Check that a model answered for this vocabulary.

    Raises:
        OvpsError: the maps are not P + O + background names and T + background pairs of one image.
    """
    names = len(vocabulary.parts) + len(vocabulary.objects_with_parts) + 1
    pairs = len(vocabulary.object_parts) + 1
    found = (logits.names.shape[:2], logits.pairs.shape[:2])
    if found != ((1, names), (1, pairs)):
        raise OvpsError(
            f"The model answered with names {tuple(found[0])} and pairs {tuple(found[1])}; "
            f"{vocabulary.name} needs (1, {names}) and (1, {pairs}), background last in both."
        )


def predicted_objects(logits: PartLogits, vocabulary: Vocabulary, size: tuple[int, int]) -> Tensor:
    """The most likely object of every pixel, int64 [H, W].

    Args:
        logits: maps of one image at any resolution, names = P parts, O objects, background.
        size: (H, W) of the result.

    Returns:
        Positions in ``vocabulary.objects_with_parts``; O stands for background.
    """
    rows = logits.names[:, len(vocabulary.parts) :]
    return _best(torch.sigmoid(maps) for maps in _groups(rows, size))


def oracle_obj_scores(
    logits: PartLogits, vocabulary: Vocabulary, objects: Collection[int], size: tuple[int, int]
) -> Tensor:
    """Scores of all object-parts, float [T, H, W]; 0 for parts of objects that are not in the item.

    Args:
        objects: positions in ``vocabulary.objects_with_parts`` of the objects in the item.
    """
    return torch.cat(list(_oracle_obj(logits, vocabulary, objects, size)))


def oracle_obj_prediction(
    logits: PartLogits, vocabulary: Vocabulary, objects: Collection[int], size: tuple[int, int]
) -> Tensor:
    """The best object-part of every pixel, int64 [H, W]; there is no background in this setting."""
    return _best(_oracle_obj(logits, vocabulary, objects, size))


def pred_all_scores(logits: PartLogits, vocabulary: Vocabulary, size: tuple[int, int]) -> Tensor:
    """Scores of all object-parts and, last, of the background, float [T+1, H, W].

    A part's score is 0 where another object is predicted, the background's where any object is.
    """
    return torch.cat(list(_pred_all(logits, vocabulary, size)))


def pred_all_prediction(logits: PartLogits, vocabulary: Vocabulary, size: tuple[int, int]) -> Tensor:
    """The best object-part of every pixel, or T for background, int64 [H, W]."""
    return _best(_pred_all(logits, vocabulary, size))


def _oracle_obj(
    logits: PartLogits, vocabulary: Vocabulary, objects: Collection[int], size: tuple[int, int]
) -> Iterator[Tensor]:
    owners = torch.as_tensor(vocabulary.object_index, device=logits.pairs.device)
    present = torch.tensor(sorted(objects), dtype=torch.int64, device=owners.device)
    allowed = torch.isin(owners, present)
    groups = _groups(logits.pairs[:, :-1], size)
    for maps, keep in zip(groups, allowed.split(GROUP), strict=True):
        yield torch.sigmoid(maps) * keep[:, None, None]


def _pred_all(logits: PartLogits, vocabulary: Vocabulary, size: tuple[int, int]) -> Iterator[Tensor]:
    shown = predicted_objects(logits, vocabulary, size)
    background = len(vocabulary.objects_with_parts)
    owners = torch.as_tensor([*vocabulary.object_index, background], device=logits.pairs.device)
    for maps, owner in zip(_groups(logits.pairs, size), owners.split(GROUP), strict=True):
        yield torch.sigmoid(maps) * (shown[None] == owner[:, None, None])


def _groups(maps: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Logits float [1, C, h, w] in groups of classes at ``size``, each [<=GROUP, H, W]."""
    for group in maps.split(GROUP, dim=1):
        if group.shape[-2:] != size:
            group = functional.interpolate(group, size=size, mode="bilinear", align_corners=False)
        yield group[0]


def _best(groups: Iterator[Tensor]) -> Tensor:
    """Index of the highest score over all groups, the first of equals."""
    first = next(groups)
    best, index = first.max(dim=0)
    seen = len(first)
    for scores in groups:
        value, position = scores.max(dim=0)
        better = value > best
        best, index = torch.where(better, value, best), torch.where(better, position + seen, index)
        seen += len(scores)
    return index
