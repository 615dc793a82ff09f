"""From a model's logits to one label per pixel, in both settings of a benchmark.

Maps are resized to the image in groups of classes, so that memory does not grow with the vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ovps_core.errors import UsageError
from ovps_core.evaluation.protocols import CLEAN, EvaluationProtocol
from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.interface import PartLogits

CLASSES_AT_ONCE = 16
"""Number of classes whose maps have the image's size at the same time."""


def check_logits(
    logits: PartLogits, vocabulary: Vocabulary, protocol: EvaluationProtocol = CLEAN
) -> None:
    """Check that a model's maps belong to this vocabulary.

    Raises:
        UsageError: they are not P + O names and T object parts, each with a background, of one image. Names are
            needed only where the protocol decides on objects first.
    """
    names = len(vocabulary.parts) + len(vocabulary.objects_with_parts) + 1
    if not protocol.decides_object_first:
        names = logits.names.shape[1]
    pairs = len(vocabulary.object_parts) + 1
    found = (logits.names.shape[:2], logits.object_parts.shape[:2])
    if found != ((1, names), (1, pairs)):
        raise UsageError(
            f"The model answered with {tuple(found[0])} name maps and {tuple(found[1])} object-part maps; "
            f"{vocabulary.name} needs (1, {names}) and (1, {pairs}), background last in both."
        )


def predicted_objects(logits: PartLogits, vocabulary: Vocabulary, size: tuple[int, int]) -> Tensor:
    """Predict the object of every pixel.

    Args:
        logits: maps of one image at any resolution; names are P parts, O objects, background.
        vocabulary: its P parts and O objects.
        size: (H, W) of the result.

    Returns:
        int64 [H, W], indices into ``vocabulary.objects_with_parts``; O is the background.
    """
    objects = logits.names[:, len(vocabulary.parts) :]
    rows = torch.arange(objects.shape[1], device=objects.device)
    return _best(_scores(objects, rows, size), rows, size)


def oracle_obj_prediction(
    logits: PartLogits, vocabulary: Vocabulary, objects: Collection[int], size: tuple[int, int]
) -> Tensor:
    """Predict the object part of every pixel, int64 [H, W]; this setting has no background."""
    rows = _rows_of_objects(logits, vocabulary, objects)
    return _best(_scores(logits.object_parts, rows, size), rows, size)


def class_prediction(
    logits: PartLogits,
    vocabulary: Vocabulary,
    size: tuple[int, int],
    protocol: EvaluationProtocol,
    objects: Sequence[int] | None = None,
) -> Tensor:
    """Predict the object part of every pixel by the highest map, int64 [H, W]; T is the background.

    Args:
        logits: maps of one image at any resolution, of a model that compares its classes with each other.
        vocabulary: its T object parts.
        size: (H, W) of the result.
        protocol: whether scores or logits are resized, and how an object's classes are found.
        objects: for Oracle-Obj, the objects in the item: only their parts are predicted, and no background.
    """
    if objects is None:
        rows = torch.arange(logits.object_parts.shape[1], device=logits.object_parts.device)
    elif protocol.matches_objects_by_substring:
        rows = rows_named_like(logits, vocabulary, objects[0])
    else:
        rows = _rows_of_objects(logits, vocabulary, objects)
    resize_scores = protocol.interpolates_scores
    return _best(_scores(logits.object_parts, rows, size, resize_scores=resize_scores), rows, size)


def rows_named_like(logits: PartLogits, vocabulary: Vocabulary, first: int) -> Tensor:
    """Rows of classes whose name contains that of an object, int64; the object is number ``first``."""
    name = vocabulary.objects_with_parts[first]
    rows = [
        row
        for row, (owner, part) in enumerate(vocabulary.object_parts)
        if name in f"{owner}'s {part}"
    ]
    return torch.tensor(rows, device=logits.object_parts.device)


def pred_all_prediction(
    logits: PartLogits, vocabulary: Vocabulary, size: tuple[int, int]
) -> Tensor:
    """Predict the object part of every pixel, or T for the background, int64 [H, W]."""
    shown = predicted_objects(logits, vocabulary, size)
    rows = _rows_of_objects(logits, vocabulary, torch.unique(shown).tolist())
    return _best(_scores_inside(logits, vocabulary, rows, shown), rows, size)


def _object_of_rows(logits: PartLogits, vocabulary: Vocabulary) -> Tensor:
    """Return the object of each object-part map, int64 [T+1]; O for the background."""
    background = len(vocabulary.objects_with_parts)
    return torch.as_tensor(
        [*vocabulary.object_index, background], device=logits.object_parts.device
    )


def _rows_of_objects(
    logits: PartLogits, vocabulary: Vocabulary, objects: Collection[int]
) -> Tensor:
    """Return the object-part maps of ``objects``; all others score 0 and need no resizing."""
    owners = _object_of_rows(logits, vocabulary)
    wanted = torch.tensor(sorted(objects), dtype=owners.dtype, device=owners.device)
    return torch.isin(owners, wanted).nonzero()[:, 0]


def _grouped(rows: Tensor) -> Sequence[Tensor]:
    return torch.split(rows, CLASSES_AT_ONCE) if len(rows) else ()


def _scores(
    maps: Tensor, rows: Tensor, size: tuple[int, int], *, resize_scores: bool = False
) -> Iterator[Tensor]:
    """Yield probabilities of some rows of logits [1, C, h, w] at ``size``, group by group."""
    for group in _grouped(rows):
        chosen = torch.sigmoid(maps[:, group]) if resize_scores else maps[:, group]
        if chosen.shape[-2:] != size:
            chosen = functional.interpolate(chosen, size=size, mode="bilinear", align_corners=False)
        yield chosen[0] if resize_scores else torch.sigmoid(chosen[0])


def _scores_inside(
    logits: PartLogits, vocabulary: Vocabulary, rows: Tensor, shown: Tensor
) -> Iterator[Tensor]:
    """Yield probabilities of object parts, each 0 where ``shown`` [H, W] has another object."""
    owners = _object_of_rows(logits, vocabulary)[rows]
    size = (shown.shape[0], shown.shape[1])
    for scores, owner in zip(
        _scores(logits.object_parts, rows, size), _grouped(owners), strict=True
    ):
        yield scores * (shown[None] == owner[:, None, None])


def _best(groups: Iterator[Tensor], rows: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the row with the highest score over all groups, int64 ``size``; the first of equals.

    Rows that are left out would score 0; where no row scores more, the result is row 0.
    """
    best = torch.zeros(size, device=rows.device)
    index = torch.zeros(size, dtype=torch.int64, device=rows.device)
    for scores, group in zip(groups, _grouped(rows), strict=True):
        value, position = scores.max(dim=0)
        better = value > best
        best, index = torch.where(better, value, best), torch.where(better, group[position], index)
    return index
