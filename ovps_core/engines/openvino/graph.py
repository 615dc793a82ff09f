"""Roles of the operations in an OpenVINO graph, derived from how they are connected."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx

from ovps_core.engines.openvino.packages import openvino_core
from ovps_core.models.interface import LayerRole

_PRODUCTS = {"MatMul", "Convolution", "GroupConvolution"}


@dataclass(frozen=True)
class QuantisationRoles:
    """Names of operations by role. An operation may have several roles.

    Names of a network's modules do not survive the export, so roles are derived from the graph alone.

    Attributes:
        layers: products with weights.
        mixers: products of two computed tensors, as in attention.
        ends: layers that read the input or write an output: no other product stands before or after them.
        inner: layers that are not ends.
        deep: inner layers that the earliest output does not depend on. The earliest output is the one that
            depends on the fewest products.
        projections: inner layers whose result a mixer takes directly: to queries, keys and values.
        mlps: layers directly before and after a ReLU, where there are both.
        sums: additions of two computed tensors, as in residual connections.
        norms: mean and variance normalisations.
        scales: additions and multiplications of a sum, a norm or an end with constants.
    """

    layers: frozenset[str]
    mixers: frozenset[str]
    ends: frozenset[str]
    inner: frozenset[str]
    deep: frozenset[str]
    projections: frozenset[str]
    mlps: frozenset[str]
    sums: frozenset[str]
    norms: frozenset[str]
    scales: frozenset[str]

    @property
    def products(self) -> frozenset[str]:
        """All products, with weights or without."""
        return self.layers | self.mixers

    def layers_with(self, roles: Iterable[LayerRole]) -> frozenset[str]:
        """Layers that have at least one of the roles."""
        by_role: dict[LayerRole, frozenset[str]] = {
            "inner": self.inner,
            "deep": self.deep,
            "projections": self.projections,
            "mlps": self.mlps,
        }
        return frozenset[str]().union(*(by_role[role] for role in roles))

    @classmethod
    def from_graph(cls, model: Any) -> QuantisationRoles:
        """The roles in an ``openvino.Model``."""
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
        followed = {name for product in products for name in before[product]}
        inner = {name for name in layers if before[name]} & followed
        ends = layers - inner
        outputs = [name for name, kind in kinds.items() if kind == "Result"]
        earliest = min((before[name] for name in outputs), key=len)
        mlps: set[str] = set()
        for relu in of_kind("Relu", computed_inputs=1):
            up = {a for name in graph.pred[relu] for a in (name, *graph.pred[name])} & layers
            down = set(graph.succ[relu]) & layers
            mlps |= up | down if up and down else set()
        sums = of_kind("Add", computed_inputs=2)
        norms = of_kind("MVN", computed_inputs=1)
        constants = of_kind("Add", "Multiply", computed_inputs=1)
        return cls(
            layers=frozenset(layers),
            mixers=frozenset(mixers),
            ends=frozenset(ends),
            inner=frozenset(inner),
            deep=frozenset(inner - earliest),
            projections=frozenset(projections & inner),
            mlps=frozenset(mlps),
            sums=frozenset(sums),
            norms=frozenset(norms),
            scales=frozenset(_scales(graph, constants, sums | norms | ends)),
        )


def _scales(graph: networkx.DiGraph, constants: set[str], kept: set[str]) -> set[str]:
    """Operations with ``constants`` that read an operation of ``kept``, directly or through others like them."""
    scales: set[str] = set()
    for name in networkx.topological_sort(graph):
        if name in constants and set(graph.pred[name]) & (kept | scales):
            scales.add(name)
    return scales


def _graph(model: Any) -> tuple[networkx.DiGraph, dict[str, int]]:
    """Operations as nodes with a ``kind``, and for each the number of inputs that depend on the graph's input."""
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


def _coordinates(model: Any) -> set[str]:
    """Operations between the last products and the coordinates at which maps are sampled."""
    found: set[str] = set()
    samplers = (each for each in model.get_ordered_ops() if each.get_type_name() == "GridSample")
    reached = [sampler.input_value(1).get_node() for sampler in samplers]
    while reached:
        operation = reached.pop()
        name = operation.friendly_name
        if name not in found and operation.get_type_name() not in (*_PRODUCTS, "Parameter"):
            found.add(name)
            reached += [value.get_node() for value in operation.input_values()]
    return found


def keep_sums_in_fp32(source: Path, destination: Path) -> None:
    """Write a graph that keeps float32 in some places when the rest runs in 16 bit.

    These are sums, norms, first and last layers, and coordinates of samples. A residual stream grows while the
    terms added to it stay small, so rounding the stream costs more than rounding the products. The ends are a
    hundredth of the work, and their rounding errors reach every output. Rounded coordinates would miss by a good
    part of a cell.

    Args:
        source: an .xml file; its weights are shared, not copied.
        destination: the .xml file to write, to be read together with the weights of ``source``.
    """
    model = openvino_core().read_model(source)
    roles = QuantisationRoles.from_graph(model)
    kept = roles.sums | roles.norms | roles.ends | roles.scales | _coordinates(model)
    tree = ElementTree.parse(source)
    for layer in tree.iterfind("layers/layer"):
        if layer.get("name") in kept:
            attributes = layer.find("rt_info")
            if attributes is None:
                attributes = ElementTree.Element("rt_info")
                layer.insert(1 if layer.find("data") is not None else 0, attributes)
            # OpenVINO's attribute for operations that run in no lower precision than the file's
            ElementTree.SubElement(attributes, "attribute", name="precise", version="0")
    tree.write(destination)
