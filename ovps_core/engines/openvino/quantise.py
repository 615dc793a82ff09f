"""Post-training quantisation to int8 with NNCF; it needs images but no labels."""

from __future__ import annotations

import contextlib
import io
import logging
import platform
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ovps_core.engines.calibration import (
    OBJECT_PARTS,
    calibration_digest,
    calibration_images,
)
from ovps_core.engines.chunking import graph_inputs
from ovps_core.engines.graphs import subgraph_named
from ovps_core.engines.low_precision import inference_copy
from ovps_core.engines.openvino.graph import QuantisationRoles
from ovps_core.engines.openvino.packages import import_nncf, import_openvino, openvino_core
from ovps_core.models.interface import QueryEncoder
from ovps_core.models.network import PartModel
from ovps_core.pipeline.preprocess import RgbImage, to_pixels
from ovps_core.structures.query import PartQuery

RECIPE_VERSION = 2
"""Part of the cache key. Raise it when quantising changes: its settings, the layers left in floating point, or the
images and queries it is calibrated with."""
_X86 = ("x86_64", "amd64", "i386", "i686")
_CPUINFO = Path("/proc/cpuinfo")
_VNNI = {"avx512_vnni", "avx_vnni"}
log = logging.getLogger(__name__)


def quantisation_key(calibration: Sequence[RgbImage], precision: str) -> dict[str, str]:
    """Cache key of a quantised graph beyond that of the floating-point one: images, settings, NNCF."""
    return {
        "precision": precision,
        "calibration": calibration_digest(calibration),
        "recipe": str(RECIPE_VERSION),
        "overflow fix": str(int8_saturates()),
        "nncf": import_nncf().__version__,
    }


def int8_saturates() -> bool:
    """Return whether sums of two int8 products can overflow 16 bits on this processor.

    x86 processors without VNNI add pairs of uint8 x int8 products with saturation (``vpmaddubsw``). The first ones
    with AVX-512 are among them.
    """
    if platform.machine().lower() not in _X86:
        return False
    try:
        flags = _CPUINFO.read_text().split()
    except OSError:
        return True
    return not _VNNI & set(flags)


def quantise(
    model: PartModel,
    source: Path,
    destination: Path,
    calibration: Sequence[RgbImage],
    precision: str,
    query_encoder: QueryEncoder,
) -> None:
    """Read the .xml files of all subgraphs in ``source`` and write quantised ones into ``destination``.

    Weights and inputs of the layers that ``model.spec.quantisation`` selects become int8, after outliers are
    smoothed between the two and biases are corrected. A subgraph that the spec does not name is copied.

    Args:
        model: the network, which computes the features that the decoder is calibrated with.
        source: folder of the floating-point graphs.
        destination: folder of the quantised graphs.
        calibration: images such as the robot sees, RGB uint8 [H, W, 3]; if empty, a few synthetic ones.
        precision: "int8" or "mixed".
        query_encoder: encodes the queries that the decoder is calibrated with.
    """
    started = time.perf_counter()
    images = calibration_images(calibration)
    frames = [to_pixels(image, model.spec.preprocessing) for image in images]
    selected = model.spec.quantisation.layers(precision)
    for subgraph in model.spec.subgraphs:
        file = f"{subgraph}.xml"
        if subgraph not in selected:
            for name in (file, f"{subgraph}.bin"):
                shutil.copyfile(source / name, destination / name)
            continue
        graph = openvino_core().read_model(source / file)
        roles = QuantisationRoles.from_graph(graph)
        _quantise_graph(
            graph,
            _calibration_inputs(model, subgraph, query_encoder, frames),
            floating=roles.products - roles.layers_with(selected[subgraph].roles),
            normalised_inputs=selected[subgraph].normalised_inputs,
            path=destination / file,
        )
    log.info("quantised to %s in %.0f s", precision, time.perf_counter() - started)


def _quantise_graph(
    graph: Any,
    inputs: list[list[NDArray[Any]]],
    *,
    floating: frozenset[str],
    normalised_inputs: bool,
    path: Path,
) -> None:
    """Quantise all operations but those named ``floating``, calibrated with ``inputs`` in the graph's order.

    Layers with ``normalised_inputs`` have no outliers to smooth and need no zero points: they run without either.
    """
    nncf, openvino = import_nncf(), import_openvino()
    nncf.set_log_level(logging.ERROR)
    preset, advanced = nncf.QuantizationPreset.MIXED, nncf.AdvancedQuantizationParameters()
    if normalised_inputs:
        preset = nncf.QuantizationPreset.PERFORMANCE
        advanced.smooth_quant_alphas = nncf.AdvancedSmoothQuantParameters(matmul=-1)
    if int8_saturates():
        advanced.overflow_fix = nncf.OverflowFix.ENABLE  # half of the range for weights
    with contextlib.redirect_stdout(io.StringIO()):  # a progress bar for each of its steps
        quantised = nncf.quantize(
            graph,
            nncf.Dataset(inputs, lambda row: dict(enumerate(row))),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=preset,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=sorted(floating), validate=False),
            advanced_parameters=advanced,
        )
    openvino.save_model(quantised, path, compress_to_fp16=False)


@torch.inference_mode()
def _calibration_inputs(
    model: PartModel, subgraph: str, query_encoder: QueryEncoder, frames: Sequence[Tensor]
) -> list[list[NDArray[Any]]]:
    """Inputs of a subgraph, one row per image, in the graph's order."""
    groups = subgraph_named(subgraph).inputs
    if groups == ("pixels",):
        return [[frame.numpy()] for frame in frames]
    network = inference_copy(model)  # the model itself may have moved to a GPU
    queries = [PartQuery(f"{name} {part}", object=name, part=part) for name, part in OBJECT_PARTS]
    encoded = query_encoder.encode(queries)
    conditions = graph_inputs(encoded.conditions, model.spec.answers_object_parts)
    rows = []
    for frame in frames:
        tensors = {
            "pixels": (frame,),
            "features": network.encode(frame).levels,
            "conditions": conditions,
        }
        rows.append([tensor.numpy() for group in groups for tensor in tensors[group]])
    return rows
