"""The contract of a model: encode an image once, then decode any number of queries from it.

A frame travels through two calls. ``encode`` sees only pixels and runs once per image. ``decode`` sees
features and *conditions* (encoded words) and answers all queries at once. Words are turned into conditions
when a query changes, never per frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ovps_core.structures.numpy_view import as_numpy_view
from ovps_core.structures.query import PartQuery


@dataclass(frozen=True)
class Features:
    """A pyramid of feature maps; only the model that made it knows its layout.

    Attributes:
        levels: what the decoder reads.
        size: (height, width) of the pixels that were encoded.
    """

    levels: tuple[Tensor, ...]
    size: tuple[int, int]


@dataclass(frozen=True)
class Conditions:
    """The encoded words of one decoder call.

    Attributes:
        names: float [C, D], one row a name: parts, objects, and last the background where the model has one.
        pairs: float [T, D], one row an (object, part) composition; T may be 0.
        part_index: int64 [T], the row of ``names`` that holds the pair's part.
        object_index: int64 [T], the row of ``names`` that holds the pair's object.
    """

    names: Tensor
    pairs: Tensor
    part_index: Tensor
    object_index: Tensor

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Conditions:
        """The same conditions elsewhere; ``dtype`` changes the embeddings only."""
        return replace(
            self,
            names=self.names.to(device, dtype),
            pairs=self.pairs.to(device, dtype),
            part_index=self.part_index.to(device),
            object_index=self.object_index.to(device),
        )

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """In the order in which :meth:`PartModel.forward` and exported graphs take them."""
        return self.names, self.pairs, self.part_index, self.object_index


@dataclass(frozen=True)
class PartLogits:
    """What a decoder says: one map a name and one map a pair.

    Attributes:
        names: float [B, C, h, w], logit that a pixel shows the name (part, object, background).
        pairs: float [B, T, h, w], logit that a pixel shows the part of that object.
    """

    names: Tensor
    pairs: Tensor


@dataclass(frozen=True)
class QueryRows:
    """The maps that together answer one query: rows of ``PartLogits.names`` and of ``.pairs``."""

    names: tuple[int, ...] = ()
    pairs: tuple[int, ...] = ()


@dataclass(frozen=True)
class EncodedQueries:
    """How a list of queries is asked of one model, made once when the list changes.

    Attributes:
        queries: as the user gave them; two names for one thing stay two queries.
        conditions: what the decoder is given.
        readout: per query the rows that answer it; a pixel must show *all* of them.
    """

    queries: tuple[PartQuery, ...]
    conditions: Conditions
    query_rows: tuple[QueryRows, ...]


def query_logits(logits: PartLogits, query_rows: Sequence[QueryRows]) -> Tensor:
    """Logits per query, float [B, Q, h, w]: the least of the maps that the query needs.

    The minimum is the fuzzy "and": a pixel of the knife's handle is on a handle of a knife *and* on a knife,
    so an absent object gives no mask.
    """
    batch, _, *size = logits.names.shape
    maps = logits.names.new_empty((batch, len(query_rows), *size))
    names, pairs, least = map(as_numpy_view, (logits.names, logits.pairs, maps))
    minimum: Any = torch.minimum if maps.is_cuda else np.minimum
    for row, rows in enumerate(query_rows):
        first, *others = [names[:, i] for i in rows.names] + [pairs[:, i] for i in rows.pairs]
        least[:, row] = first
        for other in others:
            minimum(least[:, row], other, out=least[:, row])
    return maps


@dataclass(frozen=True)
class Preprocessing:
    """How an RGB image becomes pixels.

    The image is squashed to ``size`` (aspect ratio not kept) with an antialiased bilinear filter, scaled to
    0..1 and normalised.

    Attributes:
        size: (height, width) of the network's input.
        mean, std: per channel RGB, of values in 0..1.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class PartModel(nn.Module, ABC):
    """Base of every network here; pipeline code never asks which one answers.

    Attributes:
        preprocessing: what :class:`ovps_core.segmenter.PartSegmenter` does to an image first.
        condition_dim: D of its conditions.
        answers_object_parts: it answers (object, part) pairs; without, every query is a name.
        safe_in_half_precision: shown on an engine in 16 bit; else ``precision: auto`` stays in fp32.
    """

    preprocessing: Preprocessing
    condition_dim: int
    answers_object_parts: bool = False
    safe_in_half_precision: bool = True

    @abstractmethod
    def encode(self, pixels: Tensor) -> Features:
        """Normalised pixels float [B, 3, H, W] -> features; once per image, whatever is asked."""

    @abstractmethod
    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """All names and pairs at once."""

    @abstractmethod
    def plan(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """Encode the words of ``queries``.

        Raises:
            QueryError: the model cannot ask for one of them; the message names it.
        """

    def forward(
        self, pixels: Tensor, names: Tensor, pairs: Tensor, part_index: Tensor, object_index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The whole frame path on bare tensors, as engines export it; see :class:`Conditions`."""
        conditions = Conditions(names, pairs, part_index, object_index)
        logits = self.decode(self.encode(pixels), conditions)
        return logits.names, logits.pairs
