"""OpenVINO on a CPU: fp32, bf16 where the processor has it, mixed and int8 after quantisation."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovps_core.checkpoints.file import ModelFile
from ovps_core.engines.engine_cache import DEFAULT_CACHE, EngineCache
from ovps_core.engines.graph_engine import GraphEngine
from ovps_core.engines.graphs import subgraph_named
from ovps_core.engines.interface import EngineShape
from ovps_core.engines.openvino.packages import import_nncf, import_openvino, openvino_core
from ovps_core.engines.openvino.session import has_bf16, infer_request
from ovps_core.engines.subgraphs import export_onnx
from ovps_core.errors import BackendError, UsageError
from ovps_core.models.interface import QueryEncoder
from ovps_core.models.network import PartModel
from ovps_core.pipeline.preprocess import RgbImage

PRECISIONS = ("fp32", "bf16", "mixed", "int8")
QUANTISED = ("mixed", "int8")
SUMS_IN_FP32 = ("bf16", "mixed")  # precisions whose sums and norms stay in float32
SUMS_KEPT = ".sums_in_fp32.xml"  # beside the graph, with the same weights
GRAPH_VERSION = 1
"""Part of the cache key. Raise it when :func:`export_ir` or :func:`keep_sums_in_fp32` writes another graph."""


class OpenVinoEngine(GraphEngine[Any]):
    """Runs the subgraphs of a model as OpenVINO graphs.

    In "int8" and "mixed" the layers that ``model.spec.quantisation`` selects are int8. The others are bf16 if the
    processor has it, else fp32. In "bf16" and "mixed" sums and norms stay in float32.

    Args:
        model: the network, or its file; the weights are copied.
        precision: one of :data:`PRECISIONS`.
        calibration: images to calibrate int8 and mixed with, such as the robot sees; if empty, synthetic ones.
        query_encoder: encodes the queries to calibrate int8 and mixed with; not needed for other precisions.
        engine_cache: folder of the graphs.

    Raises:
        MissingDependencyError: OpenVINO is not installed, or NNCF for int8 and mixed.
        UsageError: unknown precision, or no query encoder to calibrate with.
        BackendError: this processor or this model does not have the precision.
    """

    name = "openvino"
    reuses_outputs = True

    def __init__(
        self,
        model: PartModel | ModelFile,
        *,
        precision: str = "fp32",
        calibration: Sequence[RgbImage] = (),
        query_encoder: QueryEncoder | None = None,
        engine_cache: EngineCache = DEFAULT_CACHE,
    ) -> None:
        super().__init__(model, precision=precision, engine_cache=engine_cache)
        import_openvino()
        if precision not in PRECISIONS:
            raise UsageError(f"openvino runs in {', '.join(PRECISIONS)}, not {precision!r}")
        if precision == "bf16" and not has_bf16():
            raise BackendError(
                "this processor has no bf16 instructions; use openvino in fp32 or int8"
            )
        if precision in QUANTISED:
            import_nncf()
            if query_encoder is None:
                raise UsageError(f"{precision} is calibrated with queries; pass query_encoder")
            if not model.spec.quantisation.layers(precision):
                raise BackendError(
                    f"{type(model).__name__} selects no layers for {precision}; use bf16 or fp32"
                )
        self._calibration = calibration
        self._query_encoder = query_encoder

    def prepare(self, shape: EngineShape) -> None:
        """Build or load the graphs and run the encoder once; see :meth:`Engine.prepare`."""
        super().prepare(shape)
        with self.encoded(torch.zeros(shape.batch, 3, *shape.size)):
            pass

    def _key(self, size: tuple[int, int]) -> dict[str, str]:
        return super()._key(size) | {
            "openvino": import_openvino().__version__,
            "openvino graph": str(GRAPH_VERSION),
        }

    def _build(self, size: tuple[int, int]) -> Path:
        floating = super()._build(size)
        if self.precision not in QUANTISED:
            return floating
        from ovps_core.engines.openvino.quantise import quantisation_key

        key = self._key(size) | quantisation_key(self._calibration, self.precision)
        return self._engine_cache.get_or_build(
            f"{self.name}-{self.precision}", key, lambda folder: self._quantise(floating, folder)
        )

    def _export(self, folder: Path, subgraph: str, size: tuple[int, int]) -> None:
        from ovps_core.engines.openvino.graph import keep_sums_in_fp32  # imports networkx

        path = folder / f"{subgraph}.xml"
        export_ir(self._model, path, subgraph=subgraph, size=size)
        if not subgraph_named(subgraph).in_float32:
            keep_sums_in_fp32(path, folder / f"{subgraph}{SUMS_KEPT}")

    def _quantise(self, floating: Path, folder: Path) -> None:
        from ovps_core.engines.openvino.graph import keep_sums_in_fp32
        from ovps_core.engines.openvino.quantise import quantise

        self._engine_cache.progress(f"quantising to {self.precision}")
        assert self._query_encoder is not None  # checked when the engine was made
        quantise(
            self._model, floating, folder, self._calibration, self.precision, self._query_encoder
        )
        if self.precision in SUMS_IN_FP32:
            for subgraph in self._spec.subgraphs:
                keep_sums_in_fp32(folder / f"{subgraph}.xml", folder / f"{subgraph}{SUMS_KEPT}")

    def _load(self, folder: Path, subgraph: str) -> Any:
        in_float32 = self.precision == "fp32" or subgraph_named(subgraph).in_float32
        suffix = SUMS_KEPT if self.precision in SUMS_IN_FP32 and not in_float32 else ".xml"
        graph = openvino_core().read_model(
            folder / f"{subgraph}{suffix}", folder / f"{subgraph}.bin"
        )
        floating = "bf16" if not in_float32 and has_bf16() else "f32"
        return infer_request(graph, floating)

    def _run(self, graph: Any, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        graph.infer([tensor.contiguous().numpy() for tensor in inputs], share_inputs=True)
        outputs = range(len(graph.model_outputs))
        return tuple(torch.from_numpy(graph.get_output_tensor(i).data) for i in outputs)


def export_ir(
    model: PartModel,
    path: Path,
    *,
    subgraph: str = "full",
    size: tuple[int, int] | None = None,
) -> None:
    """Write OpenVINO's own files in fp32: ``path`` (.xml) and the weights beside it (.bin).

    Args:
        model: the network; it is not changed.
        path: the .xml file to write.
        subgraph: see :func:`ovps_core.engines.subgraphs.export_onnx`.
        size: (height, width) of the pixels; that of the model's preprocessing by default. Fixed in the graph.

    Raises:
        MissingDependencyError: OpenVINO or onnx is not installed.
        BackendError: the network cannot be exported.
    """
    openvino = import_openvino()
    from openvino.passes import ConstantFolding, Manager

    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder) / "graph.onnx", subgraph=subgraph, size=size)
        graph = openvino_core().read_model(Path(folder) / "graph.onnx")
        folding = Manager()
        folding.register_pass(ConstantFolding())
        folding.run_passes(graph)  # quantising finds weights only where they are constants
        path.parent.mkdir(parents=True, exist_ok=True)
        openvino.save_model(graph, path, compress_to_fp16=False)
