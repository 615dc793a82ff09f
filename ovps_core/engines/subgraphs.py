"""Export to ONNX: the whole network as one graph, or one of its subgraphs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ovps_core.engines.low_precision import inference_copy
from ovps_core.engines.requirements import require_packages
from ovps_core.errors import BackendError, UsageError
from ovps_core.models.interface import Conditions, Features, PartModel
from ovps_core.models.layers.attention import replace_multihead_attention

GRAPH_VERSION = 3
"""Part of every engine's cache key. Raise it when the same weights give another graph than before: when
the forward pass of a network or this exporter changes. A test compares recorded digests of the exported graphs."""
# With opset 23 attention is one operator, which TensorRT fuses; it has no float32 kernel for it, so float32 takes
# the last opset whose attention is spelled out.
OPSETS = {"fp32": 20, "fp16": 23}
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
_EXAMPLE_BATCH, _EXAMPLE_NAMES, _EXAMPLE_OBJECT_PARTS = (
    2,
    5,
    3,
)  # 0 and 1 would be taken as constants


@dataclass(frozen=True)
class GraphIO:
    """Names of a graph's inputs and outputs, in order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class _TracedGraph(nn.Module):
    """Base of the exported modules: float32 tensors outside, the network's own dtype inside."""

    def __init__(self, network: PartModel, features: Features) -> None:
        super().__init__()
        self.network = network
        self.dtype = next(network.parameters()).dtype
        self.size = features.size
        self.levels = len(features.levels)

    def encode(self, pixels: Tensor) -> Features:
        return self.network.encode(pixels.to(self.dtype))

    def decode(self, features: Features, conditions: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        names = conditions[0].to(self.dtype)
        if not self.network.spec.answers_object_parts:
            logits = self.network.decode(features, Conditions.names_only(names))
            return (logits.names.float(),)
        object_parts = conditions[1].to(self.dtype)
        logits = self.network.decode(features, Conditions(names, object_parts, *conditions[2:]))
        return logits.names.float(), logits.object_parts.float()


class _Full(_TracedGraph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.decode(self.encode(inputs[0]), inputs[1:])


class _Encoder(_TracedGraph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.encode(inputs[0]).levels


class _PartDecoder(_TracedGraph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.decode(Features(inputs[: self.levels], self.size), inputs[self.levels :])


@dataclass(frozen=True)
class Subgraph:
    """A graph that can be exported by its name.

    Attributes:
        module: the traced module; it takes the tensors of ``inputs`` one after the other.
        inputs, outputs: groups of tensors, in order: "pixels", "features", "conditions" or "part_logits".
    """

    module: type[_TracedGraph]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


GRAPHS = {
    "full": Subgraph(_Full, ("pixels", "conditions"), ("part_logits",)),
    "encoder": Subgraph(_Encoder, ("pixels",), ("features",)),
    "part_decoder": Subgraph(_PartDecoder, ("features", "conditions"), ("part_logits",)),
}
"""Every graph by name: the whole network, and the subgraphs that a model may name in its spec."""


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
    }
    graph = subgraph_named(subgraph)
    inputs, outputs = (
        tuple(name for group in side for name in groups[group])
        for side in (graph.inputs, graph.outputs)
    )
    return GraphIO(inputs, outputs)


def export_onnx(
    model: PartModel,
    path: Path,
    *,
    precision: str = "fp32",
    subgraph: str = "full",
    size: tuple[int, int] | None = None,
) -> GraphIO:
    """Write a checked ONNX graph with a dynamic batch and a dynamic number of names and of object parts.

    Inputs are ``pixels`` float32 [batch, 3, H, W], ``names`` float32 [names, D], ``object_parts`` float32
    [object_parts, D], ``part_index`` and ``object_index`` int64 [object_parts]; outputs are ``name_logits``
    float32 [batch, names, h, w] and ``object_part_logits`` float32 [batch, object_parts, h, w]. See
    :class:`ovps_core.models.interface.Conditions`. A model without object parts takes ``pixels`` and ``names``
    only. Features pass between subgraphs as ``level_0``, ... in the dtype of the graph.

    Args:
        model: the network; it is not changed.
        path: the file to write. It appears only when it is complete.
        precision: "fp32", or "fp16" with float16 weights and layer norms in float32.
        subgraph: one of :data:`GRAPHS`.
        size: (height, width) of the pixels; that of the model's preprocessing by default. Fixed in the graph.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
        UsageError: unknown precision or subgraph.
        BackendError: the network has an operation that ONNX lacks.
    """
    require_onnx()
    if precision not in OPSETS:
        raise UsageError(f"a graph is exported in {' or '.join(OPSETS)}, not {precision!r}")
    graph, dtype = subgraph_named(subgraph), _DTYPES[precision]
    network = inference_copy(model, dtype)
    replace_multihead_attention(network)
    height, width = size or model.spec.preprocessing.size
    pixels = torch.randn(_EXAMPLE_BATCH, 3, height, width)
    with torch.inference_mode():
        features = network.encode(pixels.to(dtype))
    examples = {
        "pixels": (pixels,),
        "features": features.levels,
        "conditions": _example_conditions(model),
    }
    inputs = tuple(tensor.clone() for group in graph.inputs for tensor in examples[group])
    names = graph_io(model, subgraph, len(features.levels))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(graph.module(network, features), inputs, path, names, OPSETS[precision])
    except Exception as error:  # the exporter raises errors of every kind
        reason = str(error).strip().splitlines()[0][:300] if str(error) else type(error).__name__
        raise BackendError(
            f"{type(model).__name__} cannot be exported to ONNX ({reason}); run it with backend torch"
        ) from error
    return names


def _example_conditions(model: PartModel) -> tuple[Tensor, ...]:
    """Conditions to trace with; their values do not matter."""
    names = torch.randn(_EXAMPLE_NAMES, model.spec.condition_dim)
    object_parts = torch.randn(_EXAMPLE_OBJECT_PARTS, model.spec.condition_dim)
    if not model.spec.answers_object_parts:
        return (names,)
    return names, object_parts, torch.tensor([0, 1, 0]), torch.tensor([3, 2, 4])


def _write(
    module: nn.Module, inputs: tuple[Tensor, ...], path: Path, names: GraphIO, opset: int
) -> None:
    import onnx

    unfinished = path.with_name(path.name + ".unfinished")
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                module.eval(),
                inputs,
                unfinished,
                dynamo=True,
                external_data=False,
                opset_version=opset,
                input_names=list(names.inputs),
                output_names=list(names.outputs),
                dynamic_shapes=(_dynamic_axes(names.inputs),),
                verbose=False,
            )
        onnx.checker.check_model(str(unfinished))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def require_onnx() -> None:
    """Check that ONNX graphs can be written.

    Raises:
        MissingDependencyError: a package is missing; the message has the line that installs it.
    """
    require_packages("onnx", "onnxscript", extra="onnx")


def _dynamic_axes(inputs: tuple[str, ...]) -> tuple[dict[int, Any], ...]:
    """The free first axis of each input."""
    batch, names, object_parts = (
        torch.export.Dim(name, min=1, max=4096) for name in ("batch", "names", "object_parts")
    )
    axes = {
        "names": names,
        "object_parts": object_parts,
        "part_index": object_parts,
        "object_index": object_parts,
    }
    return tuple({0: axes.get(name, batch)} for name in inputs)  # pixels and levels have a batch


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which prints and warns about its own internals; errors still come through."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def graph_digest(path: Path) -> str:
    """Digest of the structure of the ONNX graph at ``path``, without the values of its weights.

    Names of nodes and values are left out, since exporters number them freely. Scalars are constants of the code,
    not weights, so their values are included.
    """
    import onnx

    model = onnx.load(str(path))
    place = {value.name: f"in{i}" for i, value in enumerate(model.graph.input)}
    lines = [f"{opset.domain} {opset.version}" for opset in model.opset_import]
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        value = array.tobytes().hex() if array.ndim == 0 else ""
        place[tensor.name] = f"{array.dtype}{array.shape}{value}"
    for i, node in enumerate(model.graph.node):
        attributes = sorted(
            f"{a.name}={onnx.helper.get_attribute_value(a)}" for a in node.attribute
        )
        read = [place.get(name, "") for name in node.input]
        place |= {name: f"{i}.{j}" for j, name in enumerate(node.output)}
        lines.append(f"{node.op_type} {read} {attributes}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
