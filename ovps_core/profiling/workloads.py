"""Models, engines, queries and images of a measurement."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch

from ovps_core import checkpoints
from ovps_core.checkpoints import CheckpointInfo, LoadedModel
from ovps_core.engines import make_engine
from ovps_core.engines.calibration import calibration_images
from ovps_core.engines.tensor_engine import TensorEngine
from ovps_core.errors import CheckpointError
from ovps_core.models.catseg.config import CATSegConfig
from ovps_core.models.clipseg.model import CLIPSegConfig
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.models.families import FAMILIES
from ovps_core.models.network import PartModel
from ovps_core.models.openseed.config import OpenSeeDConfig
from ovps_core.models.partcatseg.model import PartCATSegConfig
from ovps_core.models.partclipseg.model import PartCLIPSegConfig
from ovps_core.models.text.tower import EmbeddingCache
from ovps_core.pipeline.preprocess import RgbImage, to_batch
from ovps_core.structures.query import PartQuery

RANDOM = "random:"
_LAYERS = (3, 6, 9)
# The packaged model knows these words too.
_OBJECTS = (
    "knife fork spoon ladle spatula scissors brush mug pan pot teapot kettle bottle bucket jar bowl"
)
_PARTS = "handle blade rim body lid knob spout head shaft neck base cap tip stem bowl front"


def with_norm_statistics(model: PartModel) -> PartModel:
    """Set the batch norm statistics of ``model`` from two images; without them random weights give flat maps."""
    frames = to_batch(calibration_images([])[:2], model.spec.preprocessing)
    model.train()
    with torch.no_grad():
        for _ in range(30):
            model.encode(frames)
    return model.eval()


def _move_zeros(model: PartModel) -> None:
    """Give weights to layers that start at zero, so that boxes and sampled points depend on the image."""
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)


def _random(family: str, config: Any) -> LoadedModel:
    torch.manual_seed(0)
    model, query_encoder = FAMILIES[family].build(config)
    model.eval().requires_grad_(False)
    if family == "compact":
        with_norm_statistics(model)
    if family == "openseed":
        _move_zeros(model)
    if query_encoder.text_encoder is not None:
        # In memory; names are asked for again.
        query_encoder.text_encoder.cache = EmbeddingCache(family)
    return LoadedModel(model, query_encoder, CheckpointInfo(family, family, config))


def _compact_config() -> PartFPNConfig:
    objects, parts = tuple(_OBJECTS.split()), tuple(_PARTS.split())
    return PartFPNConfig(objects, parts, tuple(zip(objects, parts, strict=True)))


RANDOM_MODELS: dict[str, Callable[[], LoadedModel]] = {
    "random:clipseg-vitb16": lambda: _random("clipseg", CLIPSegConfig(out_indices=_LAYERS)),
    "random:partclipseg-vitb16": lambda: _random(
        "partclipseg", PartCLIPSegConfig(out_indices=_LAYERS)
    ),
    "random:catseg-vitb16": lambda: _random("catseg", CATSegConfig()),
    "random:partcatseg-vitb16": lambda: _random("partcatseg", PartCATSegConfig()),
    "random:openseed-swint": lambda: _random("openseed", OpenSeeDConfig()),
    "random:compact": lambda: _random("compact", _compact_config()),
}


def open_model(name: str) -> LoadedModel:
    """Load a model by name or file, or make one of :data:`RANDOM_MODELS` with reproducible weights.

    Raises:
        CheckpointError: no model has this name, or its weights are not on this machine.
    """
    if not name.startswith(RANDOM):
        return checkpoints.open_model(name).loaded
    if name not in RANDOM_MODELS:
        raise CheckpointError(f"no random model {name!r}; there are {', '.join(RANDOM_MODELS)}")
    return RANDOM_MODELS[name]()


def open_engine(
    loaded: LoadedModel, engine_name: str, device: str, calibration: Sequence[RgbImage] = ()
) -> TensorEngine:
    """Make an engine for a model by its name, "backend" or "backend:precision".

    Raises:
        BackendError, UsageError, MissingDependencyError: see :func:`ovps_core.engines.make_engine`.
    """
    backend, _, precision = engine_name.partition(":")
    engine = make_engine(
        loaded.model,
        query_encoder=loaded.query_encoder,
        backend=backend,
        device=device,
        precision=precision or "auto",
        calibration=calibration,
    )
    assert isinstance(engine, TensorEngine)  # a network in memory has no graphs beside it
    return engine


def queries(count: int) -> list[PartQuery]:
    """The first ``count`` of 256 object parts, as queries."""
    object_parts = itertools.product(_OBJECTS.split(), _PARTS.split())
    return [
        PartQuery(f"{name} {part}", object=name, part=part)
        for name, part in itertools.islice(object_parts, count)
    ]


def camera_images(count: int, width: int, height: int) -> list[RgbImage]:
    """``count`` synthetic images, one per camera, RGB uint8 [height, width, 3]."""
    images = itertools.islice(itertools.cycle(calibration_images([])), count)
    return [np.asarray(cv2.resize(image, (width, height)), dtype=np.uint8) for image in images]
