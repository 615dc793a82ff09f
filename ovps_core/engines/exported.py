"""Engine for graphs that lie beside the weights: ONNX Runtime or OpenVINO, without PyTorch.

``NAME.safetensors`` then has a folder ``NAME.graphs`` with one ONNX file for each subgraph, which
``ovps export NAME --to graphs`` writes. Those of the packaged model are in the package.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.checkpoints.file import ModelFile
from ovps_core.engines.chunking import graph_inputs
from ovps_core.engines.engine_cache import GRAPH_VERSION, is_intact
from ovps_core.engines.interface import Engine, EngineShape
from ovps_core.models.interface import Conditions, Features, PartLogits, Preprocessing
from ovps_core.pipeline.preprocess import RgbImage, to_batch_array

Array = NDArray[Any]
Graph = Callable[[Sequence[Array]], "list[Array]"]
"""A loaded graph: inputs in order to outputs in order."""
log = logging.getLogger(__name__)


def graphs_key(weights_digest: str) -> dict[str, str]:
    """Identity of the graphs beside weights of a sha256 digest; see ``manifest.json`` in their folder."""
    return {"weights": weights_digest, "graph": str(GRAPH_VERSION)}


def graphs_folder(weights: Path) -> Path:
    """Folder of the graphs beside a weights file."""
    return weights.with_suffix(".graphs")


def find_graphs(model: object) -> Path | None:
    """Folder of the graphs beside a model's file; None if there are none, or they are of other weights."""
    if not isinstance(model, ModelFile):
        return None
    folder = graphs_folder(model.path)
    if not folder.is_dir():
        return None
    if is_intact(folder, graphs_key(model.info.digest)):
        return folder
    log.warning("%s is damaged or of other weights and not used", folder)
    return None


class ExportedEngine(Engine):
    """Runs the graphs beside the weights in fp32, with NumPy arrays.

    Args:
        model: the weights file.
        folder: folder of its graphs.
        runtime: "onnxruntime" or "openvino".

    Raises:
        MissingDependencyError: the runtime is not installed.
    """

    precision = "fp32"

    def __init__(self, model: ModelFile, folder: Path, runtime: str) -> None:
        super().__init__()
        self.name = runtime
        self._spec = model.spec
        started = time.perf_counter()
        load = {"onnxruntime": _onnxruntime, "openvino": _openvino}[runtime]
        self._graphs = {name: load(folder / f"{name}.onnx") for name in model.spec.subgraphs}
        log.info("%s read %s in %.1f s", runtime, folder.name, time.perf_counter() - started)

    def prepare(self, shape: EngineShape) -> None:
        """Run the encoder once; see :meth:`Engine.prepare`."""
        self.max_queries = shape.max_queries
        with self.encoded(np.zeros((shape.batch, 3, *shape.size), np.float32)):
            pass

    def preprocess(self, images: Sequence[RgbImage], preprocessing: Preprocessing) -> Array:
        """See :meth:`Engine.preprocess`."""
        return to_batch_array(images, preprocessing)

    def encode(self, pixels: Array) -> Features[Array]:
        """See :meth:`Engine.encode`."""
        levels = self._graphs["encoder"]([pixels])
        return Features(tuple(levels), (pixels.shape[2], pixels.shape[3]))

    def decode(self, features: Features[Array], conditions: Conditions[Array]) -> PartLogits[Array]:
        """See :meth:`Engine.decode`."""
        inputs = graph_inputs(conditions, self._spec.answers_object_parts)
        logits = self._graphs["part_decoder"]([*features.levels, *inputs])
        object_parts = len(conditions.object_parts)
        if not object_parts:
            return PartLogits.names_only(logits[0])
        return PartLogits(logits[0], logits[1][:, :object_parts])


def _onnxruntime(path: Path) -> Graph:
    from ovps_core.engines.onnx.session import session

    opened = session(path)
    names = [slot.name for slot in opened.get_inputs()]

    def run(inputs: Sequence[Array]) -> list[Array]:
        return list(opened.run(None, dict(zip(names, inputs, strict=True))))

    return run


def _openvino(path: Path) -> Graph:
    from ovps_core.engines.openvino.packages import openvino_core
    from ovps_core.engines.openvino.session import infer_request

    request = infer_request(openvino_core().read_model(path), "f32")

    def run(inputs: Sequence[Array]) -> list[Array]:
        request.infer([np.ascontiguousarray(each) for each in inputs], share_inputs=True)
        outputs = range(len(request.model_outputs))
        return [request.get_output_tensor(i).data.copy() for i in outputs]

    return run
