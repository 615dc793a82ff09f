"""One case of a measurement, timed by stage, and its result."""

from __future__ import annotations

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch

from ovps_core.engines.tensor_engine import TensorEngine

STAGES = ("preprocess", "encode", "decode", "postprocess")
Stage = Callable[[str], AbstractContextManager[Any]]
"""Context manager around a stage of a frame, such as a clock, made from the name of the stage."""
Output = TypeVar("Output")
_PROCESS = Path("/proc/self")


class Workload(NamedTuple):
    """Input of a frame.

    Attributes:
        queries: number of queries.
        size: (width, height) of the images.
        cameras: number of images in one call.
    """

    queries: int
    size: tuple[int, int]
    cameras: int


@dataclass
class Result:
    """Measurements of one case.

    Attributes:
        model, engine: names of both.
        queries, size, cameras: see :class:`Workload`.
        iou: mean mask IoU with PyTorch fp32.
        agreement: share of the objects of PyTorch fp32 that were found with a box within 1 pixel and a mask IoU of
            0.99; only for models of objects.
        memory_mb: memory that preparing the engine and its first frames added, MB: of the process, or on a GPU the
            peak.
        peak_mb: the same at the peak of a frame, of the process; not on a GPU.
        frames_ms: milliseconds, one row per round, one column per stage; the peer has only its network.
    """

    model: str
    engine: str
    queries: int
    size: tuple[int, int]
    cameras: int
    iou: float = math.nan
    agreement: float = math.nan
    memory_mb: float = math.nan
    peak_mb: float = math.nan
    frames_ms: list[tuple[float, ...]] = field(default_factory=list)

    @property
    def totals(self) -> list[float]:
        """Milliseconds of the frame of each round."""
        return [sum(stages) for stages in self.frames_ms]

    @property
    def median(self) -> float:
        """Median milliseconds of a frame."""
        return float(np.median(self.totals))

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile of a frame, milliseconds."""
        low, high = np.percentile(self.totals, [25, 75])
        return float(low), float(high)

    @property
    def images_per_second(self) -> float:
        """Images per second at the median."""
        return 1000 * self.cameras / self.median

    @property
    def network(self) -> float:
        """Median milliseconds of encoding and decoding alone."""
        return self.stage("encode") + self.stage("decode")

    def stage(self, name: str) -> float:
        """Median milliseconds of one of :data:`STAGES`; the network of the peer is "encode"."""
        return float(np.median([stages[STAGES.index(name)] for stages in self.frames_ms]))


class TimedCase(ABC, Generic[Output]):
    """An engine with its input, ready to run a frame.

    Args:
        result: names of the case, to which measurements are added.
        engine: runs the model.
    """

    def __init__(self, result: Result, engine: TensorEngine) -> None:
        self.result = result
        self.engine = engine

    @abstractmethod
    def prepare(self) -> None:
        """Compile and allocate."""

    @abstractmethod
    def run(self, stage: Stage) -> Output:
        """Run a frame, each of :data:`STAGES` in ``stage(name)``; return the network's answer."""

    @abstractmethod
    def compare(self, output: Output) -> None:
        """Record the agreement of an answer with that of the reference."""

    def frame(self) -> Output:
        """Run one frame, record its times and return its answer."""
        times_ms: list[float] = []

        @contextlib.contextmanager
        def timed(_: str) -> Iterator[None]:
            started = time.perf_counter()
            yield
            if self.engine.device.type == "cuda":
                torch.cuda.synchronize(self.engine.device)
            times_ms.append(1e3 * (time.perf_counter() - started))

        output = self.run(timed)
        self.result.frames_ms.append(tuple(times_ms))
        return output

    def warm_up(self) -> None:
        """Run the first frames, which compile and allocate; record agreement and memory."""
        if self.engine.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.engine.device)
        before = _memory(self.engine)
        self.prepare()
        _forget_peak()
        for _ in range(2):
            output = self.frame()
        self.result.memory_mb = (_memory(self.engine) - before) / 1e6
        self.result.peak_mb = (_peak() - before) / 1e6
        self.compare(output)
        self.result.frames_ms.clear()


def _memory(engine: TensorEngine) -> int:
    if engine.device.type == "cuda":
        return torch.cuda.max_memory_allocated(engine.device)
    import psutil

    return psutil.Process().memory_info().rss


def _forget_peak() -> None:
    """Start the kernel's record of the peak memory anew, where it can be."""
    with contextlib.suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")


def _peak() -> float:
    """Peak memory of this process since :func:`_forget_peak`, bytes; NaN where the kernel does not say."""
    with contextlib.suppress(OSError):
        for line in (_PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    return math.nan
