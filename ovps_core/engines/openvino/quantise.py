"""A network from floating point to int8 with NNCF, after training, without labels."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ovps_core.engines.chunking import graph_inputs
from ovps_core.engines.low_precision import inference_copy
from ovps_core.engines.openvino.calibration import PAIRS, calibration_images, images_digest
from ovps_core.engines.openvino.graph import QuantisationRoles
from ovps_core.errors import BackendError
from ovps_core.models.interface import PartModel, QueryEncoder
from ovps_core.pipeline.preprocess import RgbImage, to_pixels
from ovps_core.structures.query import PartQuery

RECIPE_VERSION = 1
"""Part of the cache key. Raise it when quantising changes: its settings, the layers left in floating point, or the
pictures and queries it is calibrated with."""
log = logging.getLogger(__name__)


def recipe(images: Sequence[RgbImage], precision: str) -> dict[str, str]:
    """What a quantised graph depends on beside the floating one: pictures, settings, NNCF."""
    import nncf

    return {
        "precision": precision,
        "images": images_digest(images),
        "recipe": str(RECIPE_VERSION),
        "nncf": nncf.__version__,
    }


def quantise(
    model: PartModel,
    source: Path,
    destination: Path,
    images: Sequence[RgbImage],
    precision: str,
    query_encoder: QueryEncoder,
) -> None:
    """Read ``encode.xml`` and ``decode.xml`` in ``source``, write what int8 or mixed runs into ``destination``.

    Weights and inputs of the image tower's layers become int8, after smoothing outliers between the two and
    correcting biases. What stays in floating point is little work and much of the loss, each of it measured on a
    ViT-B/16 with random weights: the layer that reads the pixels and those that write the features (mask IoU 0.964
    when quantised, 0.985 when not), attention's own products, and the decoder but for its MLPs.

    "mixed" also leaves in floating point the decoder, and what the shallowest features depend on but for
    attention's projections: deeper features pass through more blocks of the decoder, which are normed, and lose
    next to nothing by int8.

    Args:
        model: gives preprocessing, words and features to calibrate with.
        images: pictures such as the robot sees; without any, a few synthetic ones.
        precision: "int8" or "mixed".
        query_encoder: encodes the queries that the decoder is calibrated with.
    """
    started = time.perf_counter()
    frames = [to_pixels(image, model.spec.preprocessing) for image in calibration_images(images)]
    encode = _read(source / "encode.xml")
    roles = QuantisationRoles.of(encode)
    floating = roles.mixers | roles.ends
    if precision == "mixed":
        floating |= roles.shallow - roles.projections
    pixels = [[frame.numpy()] for frame in frames]
    _quantised(encode, pixels, floating, destination / "encode.xml")

    decode = _read(source / "decode.xml")
    roles = QuantisationRoles.of(decode)
    if precision == "int8" and roles.mlps:
        asked = _decoder_inputs(model, query_encoder, frames)
        _quantised(
            decode,
            asked,
            (roles.layers | roles.mixers) - roles.mlps,
            destination / "decode.xml",
            normed=True,
        )
    else:
        for name in ("decode.xml", "decode.bin"):
            shutil.copyfile(source / name, destination / name)
    log.info("quantised to %s in %.0f s", precision, time.perf_counter() - started)


def _read(path: Path) -> Any:
    import openvino

    return openvino.Core().read_model(path)


def _quantised(
    graph: Any,
    inputs: list[list[NDArray[Any]]],
    floating: frozenset[str],
    path: Path,
    *,
    normed: bool = False,
) -> None:
    """Quantise all but the operations named ``floating``, calibrated with ``inputs`` in the graph's order.

    What only reads ``normed`` values has no outliers to smooth and needs no zero points: it runs without either.
    """
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    preset, advanced = nncf.QuantizationPreset.MIXED, None
    if normed:
        preset = nncf.QuantizationPreset.PERFORMANCE
        no_smoothing = nncf.AdvancedSmoothQuantParameters(matmul=-1)
        advanced = nncf.AdvancedQuantizationParameters(smooth_quant_alphas=no_smoothing)
    with contextlib.redirect_stdout(io.StringIO()):  # a bar for each of its steps
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
def _decoder_inputs(
    model: PartModel, query_encoder: QueryEncoder, frames: Sequence[Tensor]
) -> list[list[NDArray[Any]]]:
    twin = inference_copy(model)  # the model itself may have moved to a GPU
    words = [PartQuery(f"{object} {part}", object=object, part=part) for object, part in PAIRS]
    conditions = query_encoder.encode(words).conditions
    asked = graph_inputs(conditions, model.spec.answers_object_parts)
    return [[tensor.numpy() for tensor in (*twin.encode(frame).levels, *asked)] for frame in frames]


def require_nncf() -> None:
    """Raise BackendError, saying what to install, unless networks can be quantised."""
    try:
        import nncf  # noqa: F401
    except ImportError as error:
        raise BackendError('mixed and int8 need nncf: pip install "ovps[openvino]"') from error
