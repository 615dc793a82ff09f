"""What is measured: models that can be named or have random weights, engines, queries, pictures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch

from ovps_core.checkpoints import find_weights, load_model
from ovps_core.engines import make_engine
from ovps_core.engines.interface import Engine
from ovps_core.engines.openvino.calibration import calibration_images
from ovps_core.errors import CheckpointError
from ovps_core.models.clipseg.model import CLIPSeg, CLIPSegConfig
from ovps_core.models.compact.model import PartFPN, PartFPNConfig
from ovps_core.models.interface import PartModel
from ovps_core.models.partclipseg.model import PartCLIPSeg, PartCLIPSegConfig
from ovps_core.pipeline.preprocess import RgbImage, to_batch
from ovps_core.structures.query import PartQuery

RANDOM = "random:"
_TAPS = (3, 6, 9)
# Words that the packaged model knows too.
_OBJECTS = (
    "knife fork spoon ladle spatula scissors brush mug pan pot teapot kettle bottle bucket jar bowl"
)
_PARTS = "handle blade rim body lid knob spout head shaft neck base cap tip stem bowl front"


def _tiny() -> PartModel:
    objects, parts = tuple(_OBJECTS.split()), tuple(_PARTS.split())
    return settled(PartFPN(PartFPNConfig(objects, parts, tuple(zip(objects, parts, strict=True)))))


def settled(model: PartFPN) -> PartFPN:
    """A random ``model`` whose norms have seen pictures: norms that know none leave every map nearly flat."""
    frames = to_batch(calibration_images([])[:2], model.preprocessing)
    model.train()
    with torch.no_grad():
        for _ in range(30):
            model.encode(frames)
    return model.eval()


RANDOM_MODELS: dict[str, Callable[[], PartModel]] = {
    "random:clipseg-vitb16": lambda: CLIPSeg(CLIPSegConfig(taps=_TAPS)),
    "random:partclipseg-vitb16": lambda: PartCLIPSeg(PartCLIPSegConfig(taps=_TAPS)),
    "random:tiny": _tiny,
}


def open_model(name: str) -> PartModel:
    """A model by its name or file, or one of :data:`RANDOM_MODELS`: the same random weights every time.

    Raises:
        CheckpointError: no such model, or its weights are not here.
    """
    if not name.startswith(RANDOM):
        return load_model(find_weights(name))[0]
    if name not in RANDOM_MODELS:
        raise CheckpointError(f"no random model {name!r}; there are {', '.join(RANDOM_MODELS)}")
    torch.manual_seed(0)
    return RANDOM_MODELS[name]().eval().requires_grad_(False)


def open_engine(
    model: PartModel, spec: str, device: str, calibration: Sequence[RgbImage] = ()
) -> Engine:
    """An engine for ``model`` by ``spec``, "backend" or "backend:precision"; see :func:`make_engine`.

    Raises:
        BackendError: it cannot be had.
    """
    backend, _, precision = spec.partition(":")
    return make_engine(
        model,
        backend=backend,
        device=device,
        precision=precision or "auto",
        calibration=calibration,
    )


def queries(count: int) -> list[PartQuery]:
    """``count`` parts of objects, at most 256."""
    pairs = itertools.product(_OBJECTS.split(), _PARTS.split())
    return [
        PartQuery(f"{object} {part}", object=object, part=part)
        for object, part in itertools.islice(pairs, count)
    ]


def pictures(count: int, width: int, height: int) -> list[RgbImage]:
    """``count`` pictures of shapes, uint8 [height, width, 3], one a camera."""
    images = itertools.islice(itertools.cycle(calibration_images([])), count)
    return [np.asarray(cv2.resize(image, (width, height)), dtype=np.uint8) for image in images]
