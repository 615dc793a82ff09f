"""The two benchmark settings, Pred-All and Oracle-Obj: from a model's logits to one label a pixel.

Oracle-Obj knows which objects are in the item and asks only for their parts. Pred-All knows nothing: the
object maps decide the object of a pixel first, then its parts compete. Maps are brought to the image's size
in groups of classes, so that memory does not grow with the vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from enum import Enum

import torch
from torch import Tensor
from torch.nn import functional

from ovps_core.errors import OvpsError
from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.interface import PartLogits

GROUP = 16
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
    found = (logits.names.shape[:2], logits.object_parts.shape[:2])
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
    objects = logits.names[:, len(vocabulary.parts) :]
    rows = torch.arange(objects.shape[1], device=objects.device)
    return _best(_scores(objects, rows, size), rows, size)


def oracle_obj_scores(
    logits: PartLogits, vocabulary: Vocabulary, objects: Collection[int], size: tuple[int, int]
) -> Tensor:
    """Scores of all object-parts, float [T, H, W]; 0 for parts of objects that are not in the item.

    Args:
        objects: positions in ``vocabulary.objects_with_parts`` of the objects in the item.
    """
    scores = logits.object_parts.new_zeros((len(vocabulary.object_parts), *size))
    rows = _parts_of(logits, vocabulary, objects)
    if len(rows):
        scores[rows] = torch.cat(list(_scores(logits.object_parts, rows, size)))
    return scores


def oracle_obj_prediction(
    logits: PartLogits, vocabulary: Vocabulary, objects: Collection[int], size: tuple[int, int]
) -> Tensor:
    """The best object-part of every pixel, int64 [H, W]; there is no background in this setting."""
    rows = _parts_of(logits, vocabulary, objects)
    return _best(_scores(logits.object_parts, rows, size), rows, size)


def pred_all_scores(logits: PartLogits, vocabulary: Vocabulary, size: tuple[int, int]) -> Tensor:
    """Scores of all object-parts and, last, of the background, float [T+1, H, W].

    A part's score is 0 where another object is predicted, the background's where any object is.
    """
    shown = predicted_objects(logits, vocabulary, size)
    scores = logits.object_parts.new_zeros((len(vocabulary.object_parts) + 1, *size))
    rows = _parts_of(logits, vocabulary, shown.unique().tolist())
    scores[rows] = torch.cat(list(_scores_inside(logits, vocabulary, rows, shown)))
    return scores


def pred_all_prediction(
    logits: PartLogits, vocabulary: Vocabulary, size: tuple[int, int]
) -> Tensor:
    """The best object-part of every pixel, or T for background, int64 [H, W]."""
    shown = predicted_objects(logits, vocabulary, size)
    rows = _parts_of(logits, vocabulary, shown.unique().tolist())
    return _best(_scores_inside(logits, vocabulary, rows, shown), rows, size)


def _owners(logits: PartLogits, vocabulary: Vocabulary) -> Tensor:
    """The object of each row of ``logits.object_parts``, int64 [T+1]; O for the background."""
    background = len(vocabulary.objects_with_parts)
    return torch.as_tensor(
        [*vocabulary.object_index, background], device=logits.object_parts.device
    )


def _parts_of(logits: PartLogits, vocabulary: Vocabulary, objects: Collection[int]) -> Tensor:
    """Rows of ``logits.object_parts`` that belong to ``objects``; all others score 0 and need no map."""
    owners = _owners(logits, vocabulary)
    wanted = torch.tensor(sorted(objects), dtype=owners.dtype, device=owners.device)
    return torch.isin(owners, wanted).nonzero()[:, 0]


def _grouped(rows: Tensor) -> Sequence[Tensor]:
    return rows.split(GROUP) if len(rows) else ()


def _scores(maps: Tensor, rows: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Probabilities of some rows of logits [1, C, h, w] at ``size``, in groups [<=GROUP, H, W]."""
    for group in _grouped(rows):
        chosen = maps[:, group]
        if chosen.shape[-2:] != size:
            chosen = functional.interpolate(chosen, size=size, mode="bilinear", align_corners=False)
        yield torch.sigmoid(chosen[0])


def _scores_inside(
    logits: PartLogits, vocabulary: Vocabulary, rows: Tensor, shown: Tensor
) -> Iterator[Tensor]:
    """The same for pairs, each 0 off its own object of ``shown``, int64 [H, W]."""
    owners = _owners(logits, vocabulary)[rows]
    size = (shown.shape[0], shown.shape[1])
    for scores, owner in zip(
        _scores(logits.object_parts, rows, size), _grouped(owners), strict=True
    ):
        yield scores * (shown[None] == owner[:, None, None])


def _best(groups: Iterator[Tensor], rows: Tensor, size: tuple[int, int]) -> Tensor:
    """The row with the highest score over all groups, int64 ``size``; the first of equals.

    Rows that are left out would score 0, so where nothing scores more the first row of all wins.
    """
    best = torch.zeros(size, device=rows.device)
    index = torch.zeros(size, dtype=torch.int64, device=rows.device)
    for scores, group in zip(groups, _grouped(rows), strict=True):
        value, position = scores.max(dim=0)
        better = value > best
        best, index = torch.where(better, value, best), torch.where(better, group[position], index)
    return index
