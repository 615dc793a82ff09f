"""Decoder calls with more names or object parts than an engine takes at once: split and joined again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ovps_core.models.interface import Conditions, Features, PartLogits
from ovps_core.structures.numpy_view import as_numpy_view

Decode = Callable[[Features, Conditions], PartLogits]


@dataclass(frozen=True)
class Chunk:
    """One of several decoder calls.

    Attributes:
        conditions: names and object parts to decode; names that its object parts need may be in other chunks too.
        name_rows: int64 [names of this chunk], their rows in the whole call.
        object_part_rows: int64 [object parts of this chunk], their rows in the whole call.
    """

    conditions: Conditions
    name_rows: Tensor
    object_part_rows: Tensor

    def to(self, device: torch.device) -> Chunk:
        """The same chunk on another device."""
        rows = self.name_rows.to(device), self.object_part_rows.to(device)
        return Chunk(self.conditions.to(device), *rows)


def decode_in_chunks(
    decode: Decode, features: Features, conditions: Conditions, chunks: Sequence[Chunk]
) -> PartLogits:
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
    names: Tensor | None = None
    object_parts: Tensor | None = None
    for chunk in chunks:
        logits = decode(features, chunk.conditions)
        if names is None or object_parts is None:
            batch, _, *size = logits.names.shape
            names, object_parts = (
                logits.names.new_empty((batch, rows.shape[0], *size))
                for rows in (conditions.names, conditions.object_parts)
            )
        for whole, rows, maps in (
            (names, chunk.name_rows, logits.names),
            (object_parts, chunk.object_part_rows, logits.object_parts),
        ):
            as_numpy_view(whole)[:, as_numpy_view(rows)] = as_numpy_view(maps)
    assert names is not None and object_parts is not None  # there is a chunk
    return PartLogits(names, object_parts)


def split(conditions: Conditions, max_rows: int) -> list[Chunk]:
    """Chunks of at most ``max_rows`` names and ``max_rows`` object parts that together hold every row.

    An object part brings its two names, also if ``max_rows`` is 1. Object parts of one object stay together as far
    as they fit, so that few names are decoded twice. Reads values: call it when the conditions change, before
    they go to a GPU.
    """
    names, object_parts = conditions.names.shape[0], conditions.object_parts.shape[0]
    if max(names, object_parts) <= max_rows:
        return [Chunk(conditions, torch.arange(names), torch.arange(object_parts))]
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


def _chunk(conditions: Conditions, names: list[int], object_parts: list[int]) -> Chunk:
    row_of = {name: row for row, name in enumerate(names)}

    def renumbered(index: Tensor) -> Tensor:
        rows = [row_of[name] for name in index[object_parts].tolist()]
        return torch.tensor(rows, dtype=torch.int64)

    chosen = Conditions(
        conditions.names[names],
        conditions.object_parts[object_parts],
        renumbered(conditions.part_index),
        renumbered(conditions.object_index),
    )
    rows = (torch.tensor(chosen_rows, dtype=torch.int64) for chosen_rows in (names, object_parts))
    return Chunk(chosen, *rows)


def pad_with_dummy_object_part(conditions: Conditions) -> Conditions:
    """Add an object part of zeros if there is none, for graphs whose axes start at 1."""
    if conditions.object_parts.shape[0]:
        return conditions
    index = torch.zeros(1, dtype=torch.int64, device=conditions.names.device)
    zeros = torch.zeros_like(conditions.names[:1])
    return replace(conditions, object_parts=zeros, part_index=index, object_index=index)


def graph_inputs(conditions: Conditions, answers_object_parts: bool) -> tuple[Tensor, ...]:
    """Condition tensors that an exported decoder takes, in order; without object parts only the names."""
    if not answers_object_parts:
        return (conditions.names,)
    return pad_with_dummy_object_part(conditions).tensors()


def round_up_to_bucket(count: int) -> int:
    """``count`` rounded up to a power of two, so that an engine records few graphs; 0 stays 0."""
    return 1 << (count - 1).bit_length() if count else 0


def pad_to_bucket(conditions: Conditions) -> Conditions:
    """Add rows of zeros up to the next power of two of names and of object parts; none stay none."""
    names, object_parts = conditions.names.shape[0], conditions.object_parts.shape[0]
    more_names = round_up_to_bucket(names) - names
    more_object_parts = round_up_to_bucket(object_parts) - object_parts
    pad = torch.nn.functional.pad
    return Conditions(
        pad(conditions.names, (0, 0, 0, more_names)),
        pad(conditions.object_parts, (0, 0, 0, more_object_parts)),
        pad(conditions.part_index, (0, more_object_parts)),
        pad(conditions.object_index, (0, more_object_parts)),
    )
