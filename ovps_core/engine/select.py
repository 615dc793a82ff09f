"""Which engine runs a network: the one asked for, or the fastest that is here."""

from __future__ import annotations

import logging

import torch

from ovps_core.engine.base import Engine
from ovps_core.engine.eager import EagerEngine
from ovps_core.errors import BackendError
from ovps_core.models.base import PartModel

BACKENDS = ("auto", "torch")
log = logging.getLogger(__name__)


def make_engine(
    model: PartModel, *, backend: str = "auto", device: str = "auto", precision: str = "auto"
) -> Engine:
    """An engine for ``model``.

    Args:
        backend: "auto" or one of :data:`BACKENDS`.
        device: "auto", "cpu" or "cuda:N".
        precision: "auto", "fp32", "bf16" or "fp16".

    Raises:
        BackendError: what was asked for is not here; says what is.
    """
    if backend not in BACKENDS:
        raise BackendError(f"unknown backend {backend!r}; known are {', '.join(BACKENDS)}")
    if device == "auto":
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "fp16" if device.startswith("cuda") else "fp32"
    engine = EagerEngine(model, device=device, precision=precision)
    log.info("engine: %s on %s in %s", engine.name, device, engine.precision)
    return engine
