"""Speed and memory of an input pipeline, measured without its network: ``ovps data bench``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch

from ovps_core.structures.requirements import require_packages
from training.run import TrainingRun

_STEPS = 5


@dataclass(frozen=True)
class InputSpeed:
    """How fast pictures come.

    Attributes:
        workers: processes that read pictures, for each data file; 0 reads in the process that trains.
        images: number of pictures that were read.
        images_per_second: without the first batch, for which workers start.
        batch_ms: time between batches. A step that takes longer never waits.
        memory_mb: of the process and its workers after a tenth, a half and all of the pictures. Pages that
            they share count in each.
    """

    workers: int
    images: int
    images_per_second: float
    batch_ms: float
    memory_mb: tuple[float, float, float]


def measure_input(
    images: L.LightningDataModule, batch: int, workers: int, count: int
) -> InputSpeed:
    """Read at least ``count`` training pictures as a run would.

    Args:
        images: the data of a prepared run; its number of workers is changed.
        batch: pictures of each data file per step.
        workers: see :class:`InputSpeed`.
        count: number of pictures.

    Raises:
        MissingDependencyError: psutil is not installed.
    """
    require_packages("psutil", extra="bench")
    images.workers = workers  # type: ignore[attr-defined]
    loaders = images.train_dataloader()
    streams = [iter(each) for each in (loaders if isinstance(loaders, list) else [loaders])]
    per_step = batch * len(streams)
    steps = max(10, -(-count // per_step))
    memory, start = [], 0.0
    for step in range(1, steps + 1):
        for stream in streams:
            next(stream)
        if step == 1:
            start = time.perf_counter()
        if step in (-(-steps // 10), -(-steps // 2), steps):
            memory.append(_memory_mb())
    seconds = (time.perf_counter() - start) / (steps - 1)
    first, middle, last = memory
    return InputSpeed(
        workers, steps * per_step, per_step / seconds, 1000 * seconds, (first, middle, last)
    )


def measure_step(run: TrainingRun) -> tuple[str, float]:
    """Device, and median time in ms of losses and gradients of one batch, without the optimiser."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = run.module.to(device).train()
    batch = run.images.transfer_batch_to_device(next(_batches(run.images)), device, 0)
    precision = run.settings.precision
    kind = torch.float16 if precision == "16-mixed" else torch.bfloat16
    times = []
    for _ in range(1 + _STEPS):
        start = time.perf_counter()
        with torch.autocast(device.type, kind, enabled=precision != "32-true"):
            loss = module.training_step(batch, 0)
        assert isinstance(loss, torch.Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        module.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    name = torch.cuda.get_device_name() if device.type == "cuda" else "the CPU"
    return name, statistics.median(times[1:])


def _batches(images: L.LightningDataModule) -> Iterator[Any]:
    """Training batches as a step takes them."""
    loaders = images.train_dataloader()
    if isinstance(loaders, list):
        yield from map(list, zip(*loaders, strict=True))
    else:
        yield from loaders


def _memory_mb() -> float:
    """Resident memory of this process and of all that it started."""
    import psutil

    process = psutil.Process()
    total = process.memory_info().rss
    for child in process.children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.NoSuchProcess:  # it has just ended
            continue
    return float(total) / 1e6
