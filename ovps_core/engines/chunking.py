"""Decoder calls with more names or object parts than an engine takes at once: split and joined again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ovps_core.models.interface import Conditions, Features, PartLogits
from ovps_core.models.joint_conditions import JointConditions
from ovps_core.structures.numpy_view import as_numpy_view, new_empty

if TYPE_CHECKING:
    import torch

Decode = Callable[[Any, Any], PartLogits[Any]]
"""Decodes features and conditions, both tensors or both NumPy arrays."""


@dataclass(frozen=True)
class Chunk:
    """One of several decoder calls.

    Attributes:
        conditions: names and object parts to decode; names that its object parts need may be in other chunks too.
        name_rows: int64 [names of this chunk], their rows in the whole call.
        object_part_rows: int64 [object parts of this chunk], their rows in the whole call.
    """

    conditions: Conditions[Any]
    name_rows: Any
    object_part_rows: Any

    def to(self, device: torch.device) -> Chunk:
        """The same chunk as tensors on a device."""
        import torch

        rows = (
            torch.as_tensor(rows, device=device) for rows in (self.name_rows, self.object_part_rows)
        )
        return Chunk(self.conditions.to(device), *rows)


def decode_in_chunks(
    decode: Decode,
    features: Features[Any],
    conditions: Conditions[Any],
    chunks: Sequence[Chunk],
) -> PartLogits[Any]:
    """Logits of any number of conditions, decoded chunk by chunk.

    A chunk bounds the memory of the decoder's activations; the image is not encoded again.

    Args:
        decode: decodes one chunk.
        features: features of the images.
        conditions: all conditions.
        chunks: :func:`split` of ``conditions``, on the device of ``features``.
    """
    if len(chunks) == 1:
        return decode(features, chunks[0].conditions)
    names: Any = None
    object_parts: Any = None
    for chunk in chunks:
        logits = decode(features, chunk.conditions)
        if names is None or object_parts is None:
            batch, _, *size = logits.names.shape
            names, object_parts = (
                new_empty((batch, rows.shape[0], *size), like=logits.names)
                for rows in (conditions.names, conditions.object_parts)
            )
        for whole, rows, maps in (
            (names, chunk.name_rows, logits.names),
            (object_parts, chunk.object_part_rows, logits.object_parts),
        ):
            as_numpy_view(whole)[:, as_numpy_view(rows)] = as_numpy_view(maps)
    assert names is not None and object_parts is not None  # there is a chunk
    return PartLogits(names, object_parts)


def split(conditions: Conditions[Any], max_rows: int) -> list[Chunk]:
    """Chunks of at most ``max_rows`` names and ``max_rows`` object parts that together hold every row.

    An object part brings its two names, also if ``max_rows`` is 1. Object parts of one object stay together as far
    as they fit, so that few names are decoded twice. Reads values: call it when the conditions change, before
    they go to a GPU. Joint conditions stay one chunk, whatever their number.
    """
    names, object_parts = conditions.names.shape[0], conditions.object_parts.shape[0]
    if max(names, object_parts) <= max_rows or isinstance(conditions, JointConditions):
        return [Chunk(conditions, np.arange(names), np.arange(object_parts))]
    part_names, object_names = conditions.part_index.tolist(), conditions.object_index.tolist()
    order = sorted(range(object_parts), key=lambda row: (object_names[row], part_names[row]))
    missing = dict.fromkeys(range(names))
    chunks: list[Chunk] = []
    chunk_names: dict[int, None] = {}
    chunk_rows: list[int] = []
    for row in order:
        needed = dict.fromkeys((object_names[row], part_names[row]))
        wider = chunk_names | needed
        if chunk_rows and (len(wider) > max_rows or len(chunk_rows) == max_rows):
            chunks.append(_chunk(conditions, list(chunk_names), chunk_rows))
            wider, chunk_rows = needed, []
        chunk_names, chunk_rows = wider, [*chunk_rows, row]
        for name in needed:
            missing.pop(name, None)
    for name in missing:
        if len(chunk_names) >= max_rows:
            chunks.append(_chunk(conditions, list(chunk_names), chunk_rows))
            chunk_names, chunk_rows = {}, []
        chunk_names[name] = None
    return [*chunks, _chunk(conditions, list(chunk_names), chunk_rows)]


def _chunk(conditions: Conditions[Any], names: list[int], object_parts: list[int]) -> Chunk:
    row_of = {name: row for row, name in enumerate(names)}

    def renumbered(index: Any) -> Any:
        rows = [row_of[name] for name in index[object_parts].tolist()]
        return np.array(rows, dtype=np.int64)

    chosen: Conditions[Any] = Conditions(
        conditions.names[names],
        conditions.object_parts[object_parts],
        renumbered(conditions.part_index),
        renumbered(conditions.object_index),
    )
    rows = (np.array(chosen_rows, dtype=np.int64) for chosen_rows in (names, object_parts))
    return Chunk(chosen, *rows)


def pad_with_dummy_object_part(conditions: Conditions[Any]) -> Conditions[Any]:
    """Add an object part of zeros if there is none, for graphs whose axes start at 1."""
    if conditions.object_parts.shape[0]:
        return conditions
    index = new_empty((1,), like=conditions.part_index)
    index[:] = 0
    zeros = 0 * conditions.names[:1]
    return replace(conditions, object_parts=zeros, part_index=index, object_index=index)


def graph_inputs(conditions: Conditions[Any], answers_object_parts: bool) -> tuple[Any, ...]:
    """Condition arrays that an exported decoder takes, in order; without object parts only the names."""
    if not answers_object_parts:
        return (conditions.names,)
    return pad_with_dummy_object_part(conditions).arrays()


def round_up_to_bucket(count: int) -> int:
    """``count`` rounded up to a power of two, so that an engine records few graphs; 0 stays 0."""
    return 1 << (count - 1).bit_length() if count else 0


def pad_to_bucket(conditions: Conditions) -> Conditions:
    """Add rows of zeros up to the next power of two of names and of object parts; none stay none.

    Joint conditions are returned as they are, since rows of zeros would change the other answers.
    """
    if isinstance(conditions, JointConditions):
        return conditions
    names, object_parts = conditions.names.shape[0], conditions.object_parts.shape[0]
    more_names = round_up_to_bucket(names) - names
    more_object_parts = round_up_to_bucket(object_parts) - object_parts
    from torch.nn.functional import pad

    return Conditions(
        pad(conditions.names, (0, 0, 0, more_names)),
        pad(conditions.object_parts, (0, 0, 0, more_object_parts)),
        pad(conditions.part_index, (0, more_object_parts)),
        pad(conditions.object_index, (0, more_object_parts)),
    )
