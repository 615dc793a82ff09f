"""A network as ONNX: one graph from pixels and conditions to logits, or its two halves."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ovps_core.engines.low_precision import inference_copy
from ovps_core.errors import BackendError
from ovps_core.models.interface import Conditions, Features, PartLogits, PartModel
from ovps_core.models.layers.attention import replace_multihead_attention

GRAPH_VERSION = 2
"""Part of every engine's cache key. Raise it when the same weights give another graph than before: when
the forward pass of a network or this exporter changes. A test compares recorded digests of the exported graphs."""
# With opset 23 attention is one operator, which TensorRT fuses; it has no float32 kernel for it, so float32 takes
# the last opset whose attention is spelled out.
OPSETS = {"fp32": 20, "fp16": 23}
SUBGRAPHS = ("encode", "decode")
"""What an engine runs apart: the image once, queries whenever they are asked."""
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
_EXAMPLE_BATCH, _EXAMPLE_NAMES, _EXAMPLE_PAIRS = 2, 5, 3  # 0 and 1 would be taken as constants


@dataclass(frozen=True)
class GraphIO:
    """Names of a graph's inputs and outputs, in order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def graph_io(model: PartModel, part: str = "whole", levels: int = 0) -> GraphIO:
    """What a graph of ``model`` takes and gives.

    Args:
        part: "whole", "encode" or "decode".
        levels: for the halves, how many feature levels travel between them.
    """
    features = tuple(f"level_{i}" for i in range(levels))
    conditions = (
        ("names", "object_parts", "part_index", "object_index")
        if model.spec.answers_object_parts
        else ("names",)
    )
    logits = (
        ("name_logits", "object_part_logits")
        if model.spec.answers_object_parts
        else ("name_logits",)
    )
    if part == "encode":
        return GraphIO(("pixels",), features)
    if part == "decode":
        return GraphIO((*features, *conditions), logits)
    return GraphIO(("pixels", *conditions), logits)


def export_onnx(
    model: PartModel,
    path: Path,
    *,
    precision: str = "fp32",
    part: str = "whole",
    size: tuple[int, int] | None = None,
) -> GraphIO:
    """Write a checked ONNX graph with a dynamic batch and a dynamic number of names and of pairs.

    Inputs are ``pixels`` float32 [batch, 3, H, W], ``names`` float32 [names, D], ``object_parts`` float32
    [object_parts, D], ``part_index`` and ``object_index`` int64 [object_parts]; outputs are ``name_logits``
    float32 [batch, names, H, W] and ``object_part_logits`` float32 [batch, object_parts, H, W]. See
    :class:`ovps_core.models.interface.Conditions`. A model without object parts takes ``pixels`` and ``names``
    only. The subgraphs hand over ``level_0``, ... in the graph's own precision.

    Args:
        model: left as it is.
        path: the file to write; all or nothing.
        precision: "fp32", or "fp16" with weights in half and layer norms in float32.
        part: "whole", "encode" or "decode".
        size: (height, width) of the pixels; that of the model's preprocessing by default. Fixed in the graph.

    Raises:
        BackendError: onnx is not installed, or the network has something that ONNX cannot say.
    """
    require_onnx()
    if precision not in OPSETS:
        raise BackendError(f"a graph is exported in {' or '.join(OPSETS)}, not {precision!r}")
    twin = inference_copy(model, _DTYPES[precision])
    replace_multihead_attention(twin)
    height, width = size or model.spec.preprocessing.size
    pixels = torch.randn(_EXAMPLE_BATCH, 3, height, width)
    with torch.inference_mode():
        features = twin.encode(pixels.to(_DTYPES[precision]))
    names, axes = graph_io(model, part, len(features.levels)), _axes()
    module, inputs = _graph(twin, part, pixels, features)
    dynamic = {name: axes["level" if name.startswith("level") else name] for name in names.inputs}
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(module, inputs, path, names, tuple(dynamic.values()), OPSETS[precision])
    except Exception as error:  # the exporter raises whatever it meets
        reason = str(error).strip().splitlines()[0][:300] if str(error) else type(error).__name__
        raise BackendError(
            f"{type(model).__name__} cannot be exported to ONNX ({reason}); run it with backend torch"
        ) from error
    return names


def _write(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    names: GraphIO,
    dynamic: tuple[dict[int, Any], ...],
    opset: int,
) -> None:
    import onnx

    unfinished = path.with_name(path.name + ".part")
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                module.eval(),
                tuple(t.clone() for t in inputs),
                unfinished,
                dynamo=True,
                external_data=False,
                opset_version=opset,
                input_names=list(names.inputs),
                output_names=list(names.outputs),
                dynamic_shapes=(dynamic,),
                verbose=False,
            )
        onnx.checker.check_model(str(unfinished))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def require_onnx() -> None:
    """Raise BackendError, saying what to install, unless ONNX graphs can be written."""
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendError(
            f'{" and ".join(missing)} not installed; install what writes graphs: pip install "ovps[onnx]"'
        )


def _axes() -> dict[str, dict[int, Any]]:
    batch, names, object_parts = (
        torch.export.Dim(name, min=1, max=4096) for name in ("batch", "names", "object_parts")
    )
    return {
        "pixels": {0: batch},
        "level": {0: batch},
        "names": {0: names},
        "object_parts": {0: object_parts},
        "part_index": {0: object_parts},
        "object_index": {0: object_parts},
    }


def _graph(
    twin: PartModel, part: str, pixels: Tensor, features: Features
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The module to trace and its example inputs."""
    names = torch.randn(_EXAMPLE_NAMES, twin.spec.condition_dim)
    pairs = torch.randn(_EXAMPLE_PAIRS, twin.spec.condition_dim)
    conditions: tuple[Tensor, ...] = (
        names,
        pairs,
        torch.tensor([0, 1, 0]),
        torch.tensor([3, 2, 4]),
    )
    conditions = conditions if twin.spec.answers_object_parts else conditions[:1]
    if part == "encode":
        return _Encode(twin), (pixels,)
    if part == "decode":
        return _Decode(twin, features.size, len(features.levels)), (*features.levels, *conditions)
    return _Whole(twin), (pixels, *conditions)


class _Graph(nn.Module):
    """Traced boundary: float32 outside, the twin's own type inside."""

    def __init__(self, twin: PartModel) -> None:
        super().__init__()
        self.twin = twin
        self.dtype = next(twin.parameters()).dtype

    def conditions(self, tensors: tuple[Tensor, ...]) -> Conditions:
        names = tensors[0].to(self.dtype)
        if not self.twin.spec.answers_object_parts:
            return Conditions(
                names, names[:0], *(torch.zeros(0, dtype=torch.int64) for _ in range(2))
            )
        return Conditions(names, tensors[1].to(self.dtype), tensors[2], tensors[3])

    def logits(self, logits: PartLogits) -> tuple[Tensor, ...]:
        both = logits.names.float(), logits.object_parts.float()
        return both if self.twin.spec.answers_object_parts else both[:1]


class _Whole(_Graph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        features = self.twin.encode(inputs[0].to(self.dtype))
        return self.logits(self.twin.decode(features, self.conditions(inputs[1:])))


class _Encode(_Graph):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.twin.encode(inputs[0].to(self.dtype)).levels


class _Decode(_Graph):
    def __init__(self, twin: PartModel, size: tuple[int, int], levels: int) -> None:
        super().__init__(twin)
        self.size = size
        self.levels = levels

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        features = Features(inputs[: self.levels], self.size)
        return self.logits(self.twin.decode(features, self.conditions(inputs[self.levels :])))


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    """The exporter talks to stdout and warns about its own internals; errors still come through."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")
    ]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)


def graph_digest(path: Path) -> str:
    """Digest of the structure of the ONNX graph at ``path``: all but the values of its weights.

    Names of nodes and values are left out, since exporters number them freely. Scalars are constants of the code,
    not weights, so their values count.
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
