"""Base of the engines that run exported graphs: OpenVINO, ONNX Runtime and TensorRT."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ovps_core.checkpoints.file import ModelFile, network
from ovps_core.engines.chunking import graph_inputs
from ovps_core.engines.engine_cache import EngineCache, graph_key
from ovps_core.engines.interface import Engine, EngineShape
from ovps_core.models.interface import Conditions, Features, PartLogits, PartModel

Graph = TypeVar("Graph")
"""A compiled subgraph, as the runtime represents it."""
log = logging.getLogger(__name__)


class GraphEngine(Engine, Generic[Graph]):
    """An engine that exports the subgraphs of a model once, keeps the files and loads them at every start.

    Each image size has its own set of graphs; the batch and the number of queries are free. A subclass provides
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
        self._graphs: dict[tuple[int, int], dict[str, Graph]] = {}

    @property
    def _model(self) -> PartModel:
        """The network to export; the one of a file is built at the first export."""
        return network(self._source)

    def prepare(self, shape: EngineShape) -> None:
        """Build or load the graphs; see :meth:`Engine.prepare`."""
        self.max_queries = shape.max_queries
        self._graphs_for(shape.size)

    def encode(self, pixels: Tensor) -> Features:
        """See :meth:`Engine.encode`."""
        height, width = pixels.shape[-2:]
        encoder = self._graphs_for((height, width))["encoder"]
        return Features(self._run(encoder, (pixels.float(),)), (height, width))

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """See :meth:`Engine.decode`."""
        decoder = self._graphs_for(features.size)["part_decoder"]
        outputs = self._run(decoder, (*features.levels, *self._condition_inputs(conditions)))
        names = self._owned(outputs[0][:, : conditions.names.shape[0]])
        object_parts = conditions.object_parts.shape[0]
        if not object_parts:
            return PartLogits.names_only(names)
        return PartLogits(names, self._owned(outputs[1][:, :object_parts]))

    def _condition_inputs(self, conditions: Conditions) -> tuple[Tensor, ...]:
        """Inputs of the part decoder; its outputs may have more rows than ``conditions``."""
        return graph_inputs(conditions, self._spec.answers_object_parts)

    def _owned(self, output: Tensor) -> Tensor:
        """The output in memory that the runtime does not overwrite."""
        if not self.reuses_outputs:
            return output
        # NumPy copies on one thread; PyTorch's threads would compete with those of the runtime.
        return output.clone() if output.is_cuda else torch.from_numpy(output.numpy().copy())

    def _graphs_for(self, size: tuple[int, int]) -> dict[str, Graph]:
        """Loaded graphs by name of the subgraph, for pixels of (height, width)."""
        if size not in self._graphs:
            started = time.perf_counter()
            folder = self._build(size)
            names = self._spec.subgraphs
            self._graphs[size] = {name: self._load(folder, name) for name in names}
            seconds = time.perf_counter() - started
            log.info("%s ready for %dx%d in %.1f s", self.name, *size, seconds)
        return self._graphs[size]

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
