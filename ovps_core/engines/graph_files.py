"""Export of the graphs that lie beside a weights file; see :mod:`ovps_core.engines.exported`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from ovps_core.checkpoints.file import ModelFile
from ovps_core.engines.engine_cache import write_manifest
from ovps_core.engines.exported import graphs_folder, graphs_key
from ovps_core.engines.subgraphs import export_onnx
from ovps_core.errors import BackendError
from ovps_core.structures.whole_files import unfinished, unfinished_folder

_SMALL = 1024  # elements; smaller constants stay in 32 bit


def write_graphs(source: Path, folder: Path) -> Path:
    """Write a weights file and its graphs into ``folder``, for machines without PyTorch.

    Args:
        source: the weights file; it is copied unless it is in ``folder`` already.
        folder: folder to write into.

    Returns:
        The folder of the graphs.

    Raises:
        CheckpointError: the weights cannot be read.
        BackendError: the model has no graphs, or its query encoder is a network itself.
        MissingDependencyError: onnx or onnxscript is not installed.
        OutputError: a file cannot be written; earlier ones stay as they were.
    """
    model = ModelFile(source)
    if not model.spec.subgraphs or model.query_encoder.text_encoder is not None:
        raise BackendError(
            f"{model.info.name} reads phrases with a network, so it needs PyTorch on the robot too; "
            "graphs without PyTorch are for models with a closed vocabulary, such as ovps-tiny"
        )
    weights = folder / source.name
    graphs = graphs_folder(weights)
    with unfinished_folder(graphs) as written:
        written.mkdir()
        for subgraph in model.spec.subgraphs:
            path = written / f"{subgraph}.onnx"
            export_onnx(model.model, path, subgraph=subgraph)
            store_in_half(path)
        write_manifest(written, graphs_key(model.info.digest))
        if not weights.exists() or not weights.samefile(source):
            with unfinished(weights) as copied:
                shutil.copyfile(source, copied)
        shutil.rmtree(graphs, ignore_errors=True)
    return graphs


def store_in_half(path: Path) -> None:
    """Store the large float32 constants of an ONNX file as float16, with a cast behind each.

    The file has half the size. Runtimes fold the casts when they load it, so arithmetic stays in float32.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < _SMALL:
            continue
        name = tensor.name
        stored = f"{name}.half"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
