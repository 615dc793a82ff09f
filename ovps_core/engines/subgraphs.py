"""Export to ONNX: the whole network as one graph, or one of its subgraphs; :mod:`ovps_core.engines.graphs`."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from ovps_core.engines.graphs import GraphIO, graph_io, subgraph_named
from ovps_core.engines.low_precision import inference_copy
from ovps_core.errors import BackendError, OutputError, UsageError
from ovps_core.models.interface import Features
from ovps_core.models.layers.attention import replace_multihead_attention
from ovps_core.models.network import PartModel
from ovps_core.models.objects import ObjectModel
from ovps_core.structures.requirements import require_packages

# With opset 23 attention is one operator, which TensorRT fuses; it has no float32 kernel for it, so float32 takes
# the last opset whose attention is spelled out.
OPSETS = {"fp32": 20, "fp16": 23}
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
# 0 and 1 would be taken as constants
_EXAMPLE_BATCH, _EXAMPLE_NAMES, _EXAMPLE_OBJECT_PARTS, _EXAMPLE_BOXES = 2, 5, 3, 4


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
    only. Features pass between subgraphs as ``level_0``, ... in the dtype of the encoder.

    A model of objects has a batch of 1, which is faster. Its inputs are ``names``, ``boxes`` float32 [1, boxes, 4]
    with ``box_names`` float32 [1, boxes, D], and ``mask_embeddings`` float32 [1, masks, E]; see
    :class:`ovps_core.models.objects.ObjectModel`.

    Args:
        model: the network; it is not changed.
        path: the file to write. It appears only when it is complete.
        precision: "fp32", or "fp16" with float16 weights and layer norms in float32.
        subgraph: one of :data:`ovps_core.engines.graphs.GRAPHS`.
        size: (height, width) of the pixels; that of the model's preprocessing by default. Fixed in the graph.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
        UsageError: unknown precision or subgraph.
        BackendError: the network has an operation that ONNX lacks.
        OutputError: the file cannot be written.
    """
    require_onnx()
    if precision not in OPSETS:
        raise UsageError(f"a graph is exported in {' or '.join(OPSETS)}, not {precision!r}")
    graph = subgraph_named(subgraph)
    network = inference_copy(model, _DTYPES[precision])
    replace_multihead_attention(network)
    features = _example_features(network, size or model.spec.preprocessing.size)
    if graph.in_float32 and precision != "fp32":
        precision = "fp32"
        network = inference_copy(model)
        replace_multihead_attention(network)
    examples = _example_inputs(model, features)
    inputs = tuple(tensor for group in graph.inputs for tensor in examples[group])
    names = graph_io(model, subgraph, len(features.levels))
    free_batch = not model.spec.detects_objects
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        module = graph.module(network, features)
        _write(module, inputs, path, names, OPSETS[precision], free_batch)
    except Exception as error:  # the exporter raises errors of every kind
        if failed := _failed_writing(error):
            raise OutputError(f"cannot write {path}: {failed.strerror or failed}") from error
        reason = str(error).strip().splitlines()[0][:300] if str(error) else type(error).__name__
        raise BackendError(
            f"{type(model).__name__} cannot be exported to ONNX ({reason}); run it with backend torch"
        ) from error
    return names


def _failed_writing(error: BaseException | None) -> OSError | None:
    """The error of the file system that an error of the exporter is about; None if it is about none."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _example_features(network: PartModel, size: tuple[int, int]) -> Features:
    """Random features for pixels of (height, width); their shapes come from a pass without arithmetic."""
    batch = 1 if network.spec.detects_objects else _EXAMPLE_BATCH
    dtype = next(network.parameters()).dtype
    with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True):
        fake = network.encode(torch.empty(batch, 3, *size, dtype=dtype))
    levels = tuple(torch.randn(tuple(level.shape)).to(level.dtype) for level in fake.levels)
    return Features(levels, fake.size)


def _example_inputs(model: PartModel, features: Features) -> dict[str, tuple[Tensor, ...]]:
    """Inputs to trace with, by group; their values do not matter."""
    names = torch.randn(_EXAMPLE_NAMES, model.spec.condition_dim)
    object_parts = torch.randn(_EXAMPLE_OBJECT_PARTS, model.spec.condition_dim)
    indices = torch.tensor([0, 1, 0]), torch.tensor([3, 2, 4])
    pairs = (object_parts, *indices) if model.spec.answers_object_parts else ()
    examples: dict[str, tuple[Tensor, ...]] = {
        "pixels": (torch.randn(features.levels[0].shape[0], 3, *features.size),),
        "features": features.levels,
        "conditions": (names, *pairs),
        "names": (names,),
        "boxes": (torch.rand(1, _EXAMPLE_BOXES, 4), names[None, :_EXAMPLE_BOXES]),
    }
    if isinstance(model, ObjectModel):
        width = model.mask_embedding_dim
        examples["mask_embeddings"] = (torch.randn(1, _EXAMPLE_BOXES, width),)
    return examples


def _write(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    names: GraphIO,
    opset: int,
    free_batch: bool,
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
                dynamic_shapes=(_dynamic_axes(names.inputs, free_batch),),
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


def _dynamic_axes(inputs: tuple[str, ...], free_batch: bool) -> tuple[dict[int, Any], ...]:
    """The free axis of each input: none, or one."""
    batch, names, object_parts, boxes, masks = (
        torch.export.Dim(name, min=1, max=4096)
        for name in ("batch", "names", "object_parts", "boxes", "masks")
    )
    axes = {
        "names": {0: names},
        "object_parts": {0: object_parts},
        "part_index": {0: object_parts},
        "object_index": {0: object_parts},
        "boxes": {1: boxes},
        "box_names": {1: boxes},
        "mask_embeddings": {1: masks},
    }
    images = {0: batch} if free_batch else {}  # of pixels and levels
    return tuple(axes.get(name, images) for name in inputs)


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
