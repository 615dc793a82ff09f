"""Reading OpenVINO's graphs: what each operation does in the network, told from how they hang together."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import networkx

_PRODUCTS = {"MatMul", "Convolution", "GroupConvolution"}


@dataclass(frozen=True)
class QuantisationRoles:
    """Names of operations, by what they do.

    Attributes:
        layers: products with weights.
        mixers: products of two computed tensors, as in attention.
        projections: layers that mixers take directly: to queries, keys and values.
        ends: layers that read the input or write an output, with no other product before or after them.
        shallow: products on which the output depends that depends on fewest.
        mlps: layers next to a ReLU that joins two.
        sums: additions of two computed tensors, as in residual connections.
        norms: mean and variance normalisations.
        scales: additions and multiplications of a sum, a norm or an end with constants.
    """

    layers: frozenset[str]
    mixers: frozenset[str]
    projections: frozenset[str]
    ends: frozenset[str]
    shallow: frozenset[str]
    mlps: frozenset[str]
    sums: frozenset[str]
    norms: frozenset[str]
    scales: frozenset[str]

    @classmethod
    def of(cls, model: Any) -> QuantisationRoles:
        """The roles in an ``openvino.Model``."""
        import networkx

        graph, computed = _graph(model)
        kinds: dict[str, str] = dict(graph.nodes(data="kind"))

        def of_kind(*wanted: str, computed_inputs: int) -> set[str]:
            return {
                name
                for name, kind in kinds.items()
                if kind in wanted and computed[name] == computed_inputs
            }

        layers = of_kind(*_PRODUCTS, computed_inputs=1)
        mixers = of_kind(*_PRODUCTS, computed_inputs=2)
        products = layers | mixers
        before = {name: networkx.ancestors(graph, name) & products for name in graph}
        projections = {
            name
            for mixer in mixers
            for name in before[mixer] & layers
            if not any(name in before[between] for between in before[mixer])
        }
        inner = {name for name in layers if before[name]}
        inner &= {name for product in products for name in before[product]}
        sums = of_kind("Add", computed_inputs=2)
        norms = of_kind("MVN", computed_inputs=1)
        kept = sums | norms | (layers - inner)
        scales: set[str] = set()
        for name in networkx.topological_sort(graph):
            near = set(graph.pred[name])
            if (
                kinds[name] in ("Add", "Multiply")
                and computed[name] == 1
                and near & (kept | scales)
            ):
                scales.add(name)
        mlps: set[str] = set()
        for relu in of_kind("Relu", computed_inputs=1):
            up = {a for name in graph.pred[relu] for a in (name, *graph.pred[name])} & layers
            down = set(graph.succ[relu]) & layers
            mlps |= up | down if up and down else set()
        outputs = [name for name, kind in kinds.items() if kind == "Result"]
        shallow = min((before[name] for name in outputs), key=len)
        found = layers, mixers, projections, layers - inner, shallow, mlps, sums, norms, scales
        return cls(*map(frozenset, found))


def _graph(model: Any) -> tuple[networkx.DiGraph, dict[str, int]]:
    """Operations as nodes with a ``kind``, and how many of each one's inputs depend on the network's input."""
    import networkx

    graph = networkx.DiGraph()
    depends: set[str] = set()
    computed: dict[str, int] = {}
    for operation in model.get_ordered_ops():
        name, kind = operation.friendly_name, operation.get_type_name()
        sources = [i.get_source_output().get_node().friendly_name for i in operation.inputs()]
        graph.add_node(name, kind=kind)
        graph.add_edges_from((source, name) for source in sources)
        computed[name] = sum(source in depends for source in sources)
        if kind == "Parameter" or computed[name]:
            depends.add(name)
    return graph, computed


def keep_sums_in_fp32(source: Path, destination: Path) -> None:
    """Write a graph whose sums, norms, first and last layers stay in float32 when the rest runs in 16 bit.

    A residual stream grows while what is added to it stays small, so rounding the stream costs more than rounding
    the products. The ends are a hundredth of the work; what they round is seen by all or hidden by nothing.

    Args:
        source: an .xml file; its weights are shared, not copied.
        destination: the .xml file to write, to be read together with the weights of ``source``.
    """
    import openvino

    roles = QuantisationRoles.of(openvino.Core().read_model(source))
    kept = roles.sums | roles.norms | roles.ends | roles.scales
    tree = ElementTree.parse(source)
    for layer in tree.iterfind("layers/layer"):
        if layer.get("name") in kept:
            attributes = layer.find("rt_info")
            if attributes is None:
                attributes = ElementTree.Element("rt_info")
                layer.insert(1 if layer.find("data") is not None else 0, attributes)
            # OpenVINO's own word for "in no less precision than written here"
            ElementTree.SubElement(attributes, "attribute", name="precise", version="0")
    tree.write(destination)
