"""Base of the engines that run exported graphs: OpenVINO, ONNX Runtime and TensorRT."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ovps_core.checkpoints.file import ModelFile, network
from ovps_core.engines.chunking import graph_inputs
from ovps_core.engines.engine_cache import EngineCache, graph_key
from ovps_core.engines.interface import EngineShape
from ovps_core.engines.tensor_engine import TensorEngine
from ovps_core.models.interface import Conditions, Features, PartLogits
from ovps_core.models.network import PartModel
from ovps_core.models.objects import ObjectQueries

Graph = TypeVar("Graph")
"""A compiled subgraph, as the runtime represents it."""
_MAX_SIZES = 4  # image sizes whose graphs stay loaded: each holds the weights once more
log = logging.getLogger(__name__)


class GraphEngine(TensorEngine, Generic[Graph]):
    """An engine that exports the subgraphs of a model once, keeps the files and loads them at every start.

    Each image size has its own set of graphs. The number of queries is free, and the batch except for object
    models. A graph is loaded when it is first needed; those of the last few sizes stay loaded. A subclass provides
    four steps: :meth:`_key`, :meth:`_export`, :meth:`_load` and :meth:`_run`.

    Attributes:
        reuses_outputs: the runtime overwrites the outputs of a graph at the next call.

    Args:
        model: the network, or its file; the weights are copied into the graphs.
        precision: see :attr:`Engine.precision`.
        engine_cache: folder of the exported graphs, and the callback for progress while they are built.
    """

    reuses_outputs = False

    def __init__(
        self, model: PartModel | ModelFile, *, precision: str, engine_cache: EngineCache
    ) -> None:
        super().__init__()
        self.precision = precision
        self._source = model
        self._spec = model.spec
        self._engine_cache = engine_cache
        self.max_batch = 1 if model.spec.detects_objects else None
        self._graphs: dict[tuple[int, int], dict[str, Graph]] = {}
        self._folders: dict[tuple[int, int], Path] = {}

    @property
    def _model(self) -> PartModel:
        """The network to export; the one of a file is built at the first export."""
        return network(self._source)

    def prepare(self, shape: EngineShape) -> None:
        """Build or load the graphs; see :meth:`Engine.prepare`."""
        with self._turn:
            self.max_queries = shape.max_queries
            for name in self._spec.subgraphs:
                self._graph(shape.size, name)

    def encode(self, pixels: Tensor) -> Features:
        """See :meth:`Engine.encode`."""
        height, width = pixels.shape[-2:]
        encoder = self._graph((height, width), "encoder")
        return Features(self._run(encoder, (pixels.float(),)), (height, width))

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """See :meth:`Engine.decode`."""
        if self._spec.detects_objects:
            found = self.find_queries(features, conditions.names)
            masks = self.mask_logits(features, found.mask_embeddings)
            return PartLogits.names_only(found.with_masks(masks).union_logits())
        decoder = self._graph(features.size, "part_decoder")
        outputs = self._run(decoder, (*features.levels, *self._condition_inputs(conditions)))
        names = self._owned(outputs[0][:, : conditions.names.shape[0]])
        object_parts = conditions.object_parts.shape[0]
        if not object_parts:
            return PartLogits.names_only(names)
        return PartLogits(names, self._owned(outputs[1][:, :object_parts]))

    def find_queries(self, features: Features, names: Tensor) -> ObjectQueries:
        """See :meth:`TensorEngine.find_queries`."""
        decoder = self._graph(features.size, "object_decoder")
        outputs = self._run(decoder, (*features.levels, names))
        boxes, scores, mask_embeddings = map(self._owned, outputs)
        instances = boxes.shape[1] - self._spec.stuff_queries
        return ObjectQueries(boxes, scores, mask_embeddings, instances)

    def embed_boxes(self, features: Features, boxes: Tensor, names: Tensor) -> Tensor:
        """See :meth:`TensorEngine.embed_boxes`."""
        decoder = self._graph(features.size, "box_decoder")
        return self._owned(self._run(decoder, (*features.levels, boxes, names))[0])

    def mask_logits(self, features: Features, mask_embeddings: Tensor) -> Tensor:
        """See :meth:`TensorEngine.mask_logits`."""
        count = mask_embeddings.shape[1]
        if not count:  # the axes of graphs start at 1
            mask_embeddings = F.pad(mask_embeddings, (0, 0, 0, 1))
        decoder = self._graph(features.size, "mask_decoder")
        return self._owned(self._run(decoder, (*features.levels, mask_embeddings))[0])[:, :count]

    def _condition_inputs(self, conditions: Conditions) -> tuple[Tensor, ...]:
        """Inputs of the part decoder; its outputs may have more rows than ``conditions``."""
        return graph_inputs(conditions, self._spec.answers_object_parts)

    def _owned(self, output: Tensor) -> Tensor:
        """The output in memory that the runtime does not overwrite."""
        if not self.reuses_outputs:
            return output
        # NumPy copies on one thread; PyTorch's threads would compete with those of the runtime.
        return output.clone() if output.is_cuda else torch.from_numpy(output.numpy().copy())

    def _graph(self, size: tuple[int, int], subgraph: str) -> Graph:
        """The subgraph for pixels of (height, width), loaded now if it is not yet."""
        loaded = self._graphs[size] = self._graphs.pop(size, {})  # the last used stands last
        if subgraph not in loaded:
            if subgraph not in self._spec.subgraphs:
                raise self._no_objects()
            started = time.perf_counter()
            if size not in self._folders:
                self._folders[size] = self._build(size)
            loaded[subgraph] = self._load(self._folders[size], subgraph)
            seconds = time.perf_counter() - started
            log.info("%s: %s ready for %dx%d in %.1f s", self.name, subgraph, *size, seconds)
        while len(self._graphs) > _MAX_SIZES:
            del self._graphs[next(iter(self._graphs))]
        return loaded[subgraph]

    def _build(self, size: tuple[int, int]) -> Path:
        """Folder with the files of all subgraphs, taken from the cache or exported now."""

        def export(folder: Path) -> None:
            for subgraph in self._spec.subgraphs:
                self._engine_cache.progress(f"exporting {subgraph} to {self.name}")
                self._export(folder, subgraph, size)

        return self._engine_cache.get_or_build(self.name, self._key(size), export)

    def _key(self, size: tuple[int, int]) -> dict[str, str]:
        """Everything that the files depend on."""
        return graph_key(self._source, size)

    @abstractmethod
    def _export(self, folder: Path, subgraph: str, size: tuple[int, int]) -> None:
        """Write the files of one subgraph into ``folder``."""

    @abstractmethod
    def _load(self, folder: Path, subgraph: str) -> Graph:
        """Compile one subgraph from its files in ``folder``."""

    @abstractmethod
    def _run(self, graph: Graph, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Outputs of a graph for its inputs in order; see :attr:`reuses_outputs`."""
