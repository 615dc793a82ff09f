"""More names or pairs than an engine takes at once: split into calls that it takes, joined again."""

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
    """A part of a decoder call.

    Attributes:
        conditions: what to decode; may repeat names of other chunks that its pairs need.
        name_rows: int64, rows of the whole call's names, one a name here.
        pair_rows: int64, rows of the whole call's pairs, one a pair here.
    """

    conditions: Conditions
    name_rows: Tensor
    pair_rows: Tensor

    def to(self, device: torch.device) -> Chunk:
        """The same elsewhere."""
        rows = self.name_rows.to(device), self.pair_rows.to(device)
        return Chunk(self.conditions.to(device), *rows)


def decode_in_chunks(
    decode: Decode, features: Features, conditions: Conditions, chunks: Sequence[Chunk]
) -> PartLogits:
    """``decode`` for any number of names and pairs, chunk by chunk of what :func:`split` gave for ``conditions``.

    Memory of the decoder's insides is bounded by a chunk; the image is not encoded again.
    """
    if len(chunks) == 1:
        return decode(features, chunks[0].conditions)
    names: Tensor | None = None
    pairs: Tensor | None = None
    for chunk in chunks:
        logits = decode(features, chunk.conditions)
        if names is None or pairs is None:
            batch, _, *size = logits.names.shape
            names = logits.names.new_empty((batch, conditions.names.shape[0], *size))
            pairs = logits.names.new_empty((batch, conditions.object_parts.shape[0], *size))
        as_numpy_view(names)[:, as_numpy_view(chunk.name_rows)] = as_numpy_view(logits.names)
        as_numpy_view(pairs)[:, as_numpy_view(chunk.pair_rows)] = as_numpy_view(logits.object_parts)
    assert names is not None and pairs is not None  # there is a chunk
    return PartLogits(names, pairs)


def split(conditions: Conditions, most: int) -> list[Chunk]:
    """Chunks of at most ``most`` names and ``most`` pairs, every name and every pair in at least one.

    A pair brings its two names, also where ``most`` is 1. Pairs of one object stay together as far as they fit, so
    that few names are decoded twice. Reads ``conditions``: done when they change, and before they go to a GPU.
    """
    count = conditions.names.shape[0]
    if max(count, conditions.object_parts.shape[0]) <= most:
        return [
            Chunk(conditions, torch.arange(count), torch.arange(conditions.object_parts.shape[0]))
        ]
    parts, objects = conditions.part_index.tolist(), conditions.object_index.tolist()
    order = sorted(range(len(parts)), key=lambda pair: (objects[pair], parts[pair]))
    missing = dict.fromkeys(range(count))
    chunks: list[Chunk] = []
    names: dict[int, None] = {}
    pairs: list[int] = []
    for pair in order:
        wider = names | dict.fromkeys((objects[pair], parts[pair]))
        if pairs and (len(wider) > most or len(pairs) == most):
            chunks.append(_chunk(conditions, list(names), pairs))
            wider, pairs = dict.fromkeys((objects[pair], parts[pair])), []
        names, pairs = wider, [*pairs, pair]
        missing.pop(objects[pair], None), missing.pop(parts[pair], None)
    for name in missing:
        if len(names) >= most:
            chunks.append(_chunk(conditions, list(names), pairs))
            names, pairs = {}, []
        names[name] = None
    return [*chunks, _chunk(conditions, list(names), pairs)]


def _chunk(conditions: Conditions, names: list[int], pairs: list[int]) -> Chunk:
    place = {name: row for row, name in enumerate(names)}

    def moved(index: Tensor) -> Tensor:
        return torch.tensor([place[i] for i in index[pairs].tolist()], dtype=torch.int64)

    part = Conditions(
        conditions.names[names],
        conditions.object_parts[pairs],
        moved(conditions.part_index),
        moved(conditions.object_index),
    )
    return Chunk(part, *(torch.tensor(rows, dtype=torch.int64) for rows in (names, pairs)))


def pad_with_dummy_object_part(conditions: Conditions) -> Conditions:
    """The same with one pair of zeros where there is none, for graphs whose axes start at 1."""
    if conditions.object_parts.shape[0]:
        return conditions
    zero = torch.zeros(1, dtype=torch.int64, device=conditions.names.device)
    none = torch.zeros_like(conditions.names[:1])
    return replace(conditions, object_parts=none, part_index=zero, object_index=zero)


def graph_inputs(conditions: Conditions, answers_object_parts: bool) -> tuple[Tensor, ...]:
    """What a graph is asked, in its order; one of a model without pairs takes names only."""
    return (
        pad_with_dummy_object_part(conditions).tensors()
        if answers_object_parts
        else (conditions.names,)
    )


def round_up_to_bucket(count: int) -> int:
    """``count`` rounded up to a power of two: as many recorded graphs as an engine keeps."""
    return 1 << (count - 1).bit_length() if count else 0


def pad_to_bucket(conditions: Conditions) -> Conditions:
    """The same with rows of zeros up to the next power of two of names and of pairs (none stay none)."""
    names, pairs = conditions.names.shape[0], conditions.object_parts.shape[0]
    more_names, more_pairs = round_up_to_bucket(names) - names, round_up_to_bucket(pairs) - pairs
    pad = torch.nn.functional.pad
    return Conditions(
        pad(conditions.names, (0, 0, 0, more_names)),
        pad(conditions.object_parts, (0, 0, 0, more_pairs)),
        pad(conditions.part_index, (0, more_pairs)),
        pad(conditions.object_index, (0, more_pairs)),
    )
