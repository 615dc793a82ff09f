"""Graphs that a model is exported as: the steps of a network on plain tensors, and names of inputs and outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from ovps_core.errors import UsageError
from ovps_core.models.interface import Conditions, Features
from ovps_core.models.network import PartModel
from ovps_core.models.objects import ObjectModel, ObjectQueries


@dataclass(frozen=True)
class GraphIO:
    """Names of a graph's inputs and outputs, in order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class TracedGraph(nn.Module, ABC):
    """Base of the exported modules: float32 tensors outside, the network's own dtype inside.

    Args:
        network: the network.
        features: features of an example image; only their number and size matter.
    """

    def __init__(self, network: PartModel, features: Features) -> None:
        super().__init__()
        self.network = network
        self.dtype = next(network.parameters()).dtype
        self.size = features.size
        self.levels = len(features.levels)

    @abstractmethod
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs for the inputs, both in the order of :func:`graph_io`."""

    def encode(self, pixels: Tensor) -> Features:
        """Pixels float32 [B, 3, H, W] -> features."""
        return self.network.encode(pixels.to(self.dtype))

    def read(self, inputs: tuple[Tensor, ...]) -> tuple[Features, tuple[Tensor, ...]]:
        """Features of the first inputs, and the other inputs, in the network's dtype."""
        levels = tuple(level.to(self.dtype) for level in inputs[: self.levels])
        rest = tuple(
            tensor.to(self.dtype) if tensor.is_floating_point() else tensor
            for tensor in inputs[self.levels :]
        )
        return Features(levels, self.size), rest

    def decode(self, features: Features, conditions: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Logits float32 of names and, if the model answers them, of object parts."""
        if not self.network.spec.answers_object_parts:
            logits = self.network.decode(features, Conditions.names_only(conditions[0]))
            return (logits.names.float(),)
        logits = self.network.decode(features, Conditions(*conditions))
        return logits.names.float(), logits.object_parts.float()

    @property
    def object_model(self) -> ObjectModel:
        """The network, which finds objects."""
        assert isinstance(self.network, ObjectModel)
        return self.network


class _Full(TracedGraph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        conditions = (*(tensor.to(self.dtype) for tensor in inputs[1:3]), *inputs[3:])
        return self.decode(self.encode(inputs[0]), conditions)


class _Encoder(TracedGraph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.encode(inputs[0]).levels


class _PartDecoder(TracedGraph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.decode(*self.read(inputs))


class _Detector(TracedGraph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = self.object_model.detect(self.encode(inputs[0]), inputs[1].to(self.dtype))
        return found.boxes_cxcywh.float(), found.scores.float(), found.mask_logits.float()


class _ObjectDecoder(TracedGraph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        features, (names,) = self.read(inputs)
        found: ObjectQueries = self.object_model.find_queries(features, names)
        return found.boxes_cxcywh.float(), found.scores.float(), found.mask_embeddings.float()


class _BoxDecoder(TracedGraph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        features, (boxes, names) = self.read(inputs)
        return (self.object_model.embed_boxes(features, boxes, names).float(),)


class _MaskDecoder(TracedGraph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        features, (embeddings,) = self.read(inputs)
        return (self.object_model.mask_logits(features, embeddings).float(),)


@dataclass(frozen=True)
class Subgraph:
    """A graph that can be exported by its name.

    Attributes:
        module: the traced module; it takes the tensors of ``inputs`` one after the other.
        inputs, outputs: groups of tensors, in order; :func:`graph_io` names the tensors of each.
        in_float32: runs in float32 whatever the precision of the others. Rounding in a decoder of objects changes
            which cells become queries, and moves boxes by pixels.
    """

    module: type[TracedGraph]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    in_float32: bool = False


GRAPHS = {
    "full": Subgraph(_Full, ("pixels", "conditions"), ("part_logits",)),
    "encoder": Subgraph(_Encoder, ("pixels",), ("features",)),
    "part_decoder": Subgraph(_PartDecoder, ("features", "conditions"), ("part_logits",)),
    "detector": Subgraph(_Detector, ("pixels", "names"), ("objects",)),
    "object_decoder": Subgraph(_ObjectDecoder, ("features", "names"), ("queries",), True),
    "box_decoder": Subgraph(_BoxDecoder, ("features", "boxes"), ("mask_embeddings",), True),
    "mask_decoder": Subgraph(_MaskDecoder, ("features", "mask_embeddings"), ("masks",), True),
}
"""Every graph by name: whole networks ("full", "detector"), and subgraphs that a model may name in its spec."""


def subgraph_named(name: str) -> Subgraph:
    """The entry of :data:`GRAPHS`.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in GRAPHS:
        raise UsageError(f"no subgraph {name!r}; there are {', '.join(GRAPHS)}")
    return GRAPHS[name]


def graph_io(model: PartModel, subgraph: str = "full", levels: int = 0) -> GraphIO:
    """Names of the inputs and outputs of a graph of ``model``.

    Args:
        model: the network.
        subgraph: one of :data:`GRAPHS`.
        levels: number of feature levels, for graphs that read or write features.
    """
    object_parts = model.spec.answers_object_parts
    conditions = ("names", "object_parts", "part_index", "object_index")
    logits = ("name_logits", "object_part_logits")
    groups = {
        "pixels": ("pixels",),
        "features": tuple(f"level_{i}" for i in range(levels)),
        "conditions": conditions if object_parts else conditions[:1],
        "part_logits": logits if object_parts else logits[:1],
        "names": ("names",),
        "boxes": ("boxes", "box_names"),
        "mask_embeddings": ("mask_embeddings",),
        "queries": ("boxes", "scores", "mask_embeddings"),
        "objects": ("boxes", "scores", "mask_logits"),
        "masks": ("mask_logits",),
    }
    graph = subgraph_named(subgraph)
    inputs, outputs = (
        tuple(name for group in side for name in groups[group])
        for side in (graph.inputs, graph.outputs)
    )
    return GraphIO(inputs, outputs)
