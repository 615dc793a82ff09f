"""Interface of all models: an image is encoded once, then any number of queries is decoded from it.

``encode`` takes pixels and runs once per image. ``decode`` takes features and *conditions* (encoded words) and
answers all queries in one call. A :class:`QueryEncoder` turns words into conditions when the queries change,
never per frame.

Nothing here imports PyTorch. Arrays are tensors where a network runs (:mod:`ovps_core.models.network`), and NumPy
arrays where an engine runs exported graphs without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Literal

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import QueryError, UsageError
from ovps_core.models.confidence import ConfidenceMeasure
from ovps_core.structures.numpy_view import as_numpy_view, new_empty
from ovps_core.structures.query import PartQuery, RefusedQuery

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from typing_extensions import TypeVar

    from ovps_core.language.vocabulary import Vocabulary
    from ovps_core.models.text.tower import TextEncoder

    Array = TypeVar("Array", default=Tensor)
else:
    from typing import TypeVar

    Array = TypeVar("Array")

SUBGRAPHS = ("encoder", "part_decoder")
"""Subgraphs of a model without an object decoder; they run once per image, and once per list of queries."""


@dataclass(frozen=True)
class Preprocessing:
    """Conversion of an RGB image into the network's pixels.

    The image is resized to ``size`` without keeping the aspect ratio, by an antialiased bilinear filter, scaled to
    0..1 and normalised.

    Attributes:
        size: (height, width) of the network's input, pixels.
        mean, std: per channel RGB, for values in 0..1.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class CanvasSpec:
    """Input size of a network that keeps the aspect ratio.

    Images are resized, then padded at the right and bottom.

    Attributes:
        short_side, max_side: the short side gets ``short_side`` pixels, but the long one at most ``max_side``.
        stride: both sides of the padded pixels are multiples of it.
    """

    short_side: int
    max_side: int
    stride: int


@dataclass(frozen=True)
class ClosedVocabulary:
    """The words that a model with a fixed vocabulary knows.

    Attributes:
        objects: object names.
        parts: part names.
        object_parts: (object, part) classes that training saw.
    """

    objects: tuple[str, ...]
    parts: tuple[str, ...]
    object_parts: tuple[tuple[str, str], ...]

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Meaning of each column of a condition: objects, then parts, then (object, part) classes."""
        pairs = (f"pair {name} {part}" for name, part in self.object_parts)
        return (
            *(f"object {name}" for name in self.objects),
            *(f"part {name}" for name in self.parts),
            *pairs,
        )


LayerRole = Literal["inner", "deep", "projections", "mlps"]
"""Role of layers in a graph; :class:`ovps_core.engines.openvino.graph.QuantisationRoles` defines each."""


@dataclass(frozen=True)
class QuantisedLayers:
    """Layers of one subgraph that run in int8; its other operations stay in floating point.

    Attributes:
        roles: roles of these layers.
        normalised_inputs: the layers read normalised values only, which have no outliers to smooth.
    """

    roles: tuple[LayerRole, ...]
    normalised_inputs: bool = False


@dataclass(frozen=True)
class QuantisationSpec:
    """Layers that run in int8, by subgraph; a subgraph without an entry stays in floating point.

    Attributes:
        int8: layers of precision "int8".
        mixed: layers of precision "mixed", which keeps more of the accuracy.
    """

    int8: Mapping[str, QuantisedLayers] = field(default_factory=dict)
    mixed: Mapping[str, QuantisedLayers] = field(default_factory=dict)

    def layers(self, precision: str) -> Mapping[str, QuantisedLayers]:
        """Layers of "int8" or "mixed", by subgraph."""
        return {"int8": self.int8, "mixed": self.mixed}[precision]


@dataclass(frozen=True)
class ModelSpec:
    """Everything that code outside a model family may know about a model.

    Attributes:
        preprocessing: conversion of an image into pixels.
        condition_dim: D of the conditions.
        vocabulary: words that the model knows; None if it takes any words.
        trained_object_parts: (object, part) classes of the training set, to tell seen classes from new ones.
        answers_object_parts: the model has maps for (object, part) classes; otherwise every query is one name.
        safe_in_half_precision: measured masks in 16 bit agree with fp32; if False, ``precision: auto`` selects
            fp32.
        detects_objects: the model is an :class:`ovps_core.models.objects.ObjectModel`.
        canvas: input size of an object model that keeps the aspect ratio; ``preprocessing`` has a fixed size.
        stuff_queries: the last queries of an object model, which are regions of stuff and no instances.
        max_instances: answers of an object model that evaluations rank, the highest score first.
        subgraphs: names of the graphs that engines export, in the order in which they run; empty if the model runs
            in PyTorch only.
        quantisation: layers that may run in int8.
        confidence: tells images that are unlike the training images; None if the model cannot.
    """

    preprocessing: Preprocessing
    condition_dim: int
    vocabulary: ClosedVocabulary | None = None
    trained_object_parts: tuple[tuple[str, str], ...] = ()
    answers_object_parts: bool = False
    safe_in_half_precision: bool = True
    detects_objects: bool = False
    canvas: CanvasSpec | None = None
    stuff_queries: int = 0
    max_instances: int = 100
    subgraphs: tuple[str, ...] = SUBGRAPHS
    quantisation: QuantisationSpec = QuantisationSpec()
    confidence: ConfidenceMeasure | None = None


@dataclass(frozen=True)
class Features(Generic[Array]):
    """Feature maps of an image; only the model that made them knows their layout.

    Attributes:
        levels: tensors that the decoder reads.
        size: (height, width) of the pixels that were encoded.
    """

    levels: tuple[Array, ...]
    size: tuple[int, int]


@dataclass(frozen=True)
class Conditions(Generic[Array]):
    """Encoded words of one decoder call.

    Attributes:
        names: float [C, D], one row per name: parts, objects, and last the background if the model has one.
        object_parts: float [T, D], one row per (object, part) class; T may be 0.
        part_index: int64 [T], row of ``names`` with the part of each class.
        object_index: int64 [T], row of ``names`` with the object of each class.
    """

    names: Array
    object_parts: Array
    part_index: Array
    object_index: Array

    @classmethod
    def names_only(cls, names: Tensor) -> Conditions[Tensor]:
        """Conditions float [C, D] without (object, part) classes."""
        none = names.new_zeros(0).long()
        return Conditions(names, names[:0], none, none)

    @classmethod
    def placeholder(
        cls, condition_dim: int, names: int = 1, object_parts: int = 0
    ) -> Conditions[NDArray[Any]]:
        """Rows of zeros, to compile a model or to warm it up."""
        index = np.zeros(object_parts, dtype=np.int64)
        zeros = np.zeros((max(names, object_parts), condition_dim), dtype=np.float32)
        return Conditions(zeros[:names], zeros[:object_parts], index, index)

    def to(
        self, device: torch.device | str, dtype: torch.dtype | None = None
    ) -> Conditions[Tensor]:
        """The same conditions as tensors on a device; ``dtype`` changes the embeddings only."""
        import torch

        same: Any = self
        placed: Conditions[Tensor] = replace(
            same,
            names=torch.as_tensor(self.names, device=device, dtype=dtype),
            object_parts=torch.as_tensor(self.object_parts, device=device, dtype=dtype),
            part_index=torch.as_tensor(self.part_index, device=device),
            object_index=torch.as_tensor(self.object_index, device=device),
        )
        return placed

    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """All four in the order in which ``PartModel.forward`` and exported graphs take them."""
        return self.names, self.object_parts, self.part_index, self.object_index


@dataclass(frozen=True)
class PartLogits(Generic[Array]):
    """Mask logits of a decoder call.

    Attributes:
        names: float [B, C, h, w], logit that a pixel shows the name (part, object, background).
        object_parts: float [B, T, h, w], logit that a pixel shows the part of that object.
        instance: int64 [T], index of the object instance that each map of ``object_parts`` belongs to; None for
            models that do not separate instances.
    """

    names: Array
    object_parts: Array
    instance: Array | None = None

    @classmethod
    def names_only(cls, names: Array) -> PartLogits[Array]:
        """Logits float [B, C, h, w] without (object, part) classes."""
        none: Any = names
        return PartLogits(names, none[:, :0])


@dataclass(frozen=True)
class QueryRows:
    """Maps that together answer one query.

    Attributes:
        names: rows of :attr:`PartLogits.names`.
        object_parts: rows of :attr:`PartLogits.object_parts`.
    """

    names: tuple[int, ...] = ()
    object_parts: tuple[int, ...] = ()


@dataclass(frozen=True)
class EncodedQueries:
    """A list of queries encoded for one model; made once when the list changes.

    Attributes:
        queries: the queries that the model can answer, in the order given; synonyms stay separate queries.
        conditions: input of the decoder.
        query_rows: for each query the maps that answer it; the query's mask is where *all* of them are high.
        refused: phrases that the model cannot answer.
    """

    queries: tuple[PartQuery, ...]
    conditions: Conditions[Any]
    query_rows: tuple[QueryRows, ...]
    refused: tuple[RefusedQuery, ...] = ()


def require_accepted(accepted: Sequence[object], refused: Sequence[RefusedQuery]) -> None:
    """Raise QueryError with all reasons if every query was refused."""
    if refused and not accepted:
        raise QueryError("\n".join(query.reason for query in refused), refused)


class QueryEncoder(ABC):
    """Encoder of words into conditions for one model.

    Attributes:
        text_encoder: the text tower with its cache; None for a closed vocabulary.
    """

    text_encoder: TextEncoder | None = None

    @abstractmethod
    def read(
        self, queries: Sequence[PartQuery]
    ) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
        """Divide queries into those that the model can answer, with ``read_as`` filled in, and the others.

        This is fast: no network runs.
        """

    @abstractmethod
    def encode(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """Encode queries. Those that the model cannot answer are in ``refused``, the others are encoded.

        Raises:
            QueryError: every query is refused; the message has all reasons.
        """

    def encode_vocabulary(self, vocabulary: Vocabulary) -> Conditions[Any]:
        """All parts, objects and (object, part) classes of a benchmark, in the order that its protocols read.

        Raises:
            UsageError: the model has no maps for (object, part) classes of any vocabulary.
        """
        raise UsageError(
            f"the model has no map for the background, so it cannot answer all names of {vocabulary.name} at "
            "once. Use a PartCLIPSeg model, or 'ovps evaluate folder'."
        )


def query_logits(logits: PartLogits[Array], query_rows: Sequence[QueryRows]) -> Array:
    """Logits per query, float [B, Q, h, w]: the minimum (fuzzy "and") of the maps that answer each query.

    A pixel of the knife's handle is on a handle of a knife *and* on a knife, so an absent object gives no mask.
    """
    batch, _, *size = logits.names.shape  # type: ignore[attr-defined]
    maps: Any = new_empty((batch, len(query_rows), *size), like=logits.names)
    names, object_parts, result = map(as_numpy_view, (logits.names, logits.object_parts, maps))
    minimum: Any = np.minimum
    if not isinstance(result, np.ndarray):  # on a GPU
        import torch

        minimum = torch.minimum
    for row, rows in enumerate(query_rows):
        first, *others = [names[:, i] for i in rows.names] + [
            object_parts[:, i] for i in rows.object_parts
        ]
        result[:, row] = first
        for other in others:
            minimum(result[:, row], other, out=result[:, row])
    return maps
