"""Interleaved measurement: every case once a round, so that a busy machine slows all of them alike."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ovps_core.checkpoints import LoadedModel
from ovps_core.engines.chunking import decode_in_chunks, split
from ovps_core.engines.cuda.postprocess import occupied_maps
from ovps_core.engines.interface import MAX_QUERIES, Engine, EngineShape
from ovps_core.errors import BackendError
from ovps_core.models.interface import query_logits
from ovps_core.pipeline.postprocess.components import SegmentOptions, part_masks
from ovps_core.pipeline.preprocess import RgbImage, to_batch, to_pixels
from ovps_core.profiling.peer import PEER_MODEL, HuggingFacePeer
from ovps_core.profiling.workloads import RANDOM, open_engine, open_model, pictures, queries
from ovps_core.structures.numpy_view import as_numpy_view

STAGES = ("preprocess", "encode", "decode", "postprocess")
Stage = Callable[[str], AbstractContextManager[Any]]
"""Makes what a stage of a frame runs in, such as a clock, from the stage's name."""
RANDOM_MASKS = 0.8  # with random weights a map is cut at this quantile of its own
log = logging.getLogger(__name__)


class Workload(NamedTuple):
    """What a frame is.

    Attributes:
        queries: how many are asked.
        size: (width, height) of the pictures.
        cameras: pictures in one call.
    """

    queries: int
    size: tuple[int, int]
    cameras: int


@dataclass
class Result:
    """What was seen of one case.

    Attributes:
        frames_ms: one row a round, one column a stage; the peer fills only its network's.
        iou: mean mask IoU with PyTorch fp32.
        memory_mb: what opening the engine and its first frame added to the process (on a GPU: its peak).
    """

    model: str
    engine: str
    queries: int
    size: tuple[int, int]
    cameras: int
    iou: float = math.nan
    memory_mb: float = math.nan
    frames_ms: list[tuple[float, ...]] = field(default_factory=list)

    @property
    def totals(self) -> list[float]:
        """Milliseconds of each round's frame."""
        return [sum(stages) for stages in self.frames_ms]

    @property
    def median(self) -> float:
        """Milliseconds of a frame."""
        return float(np.median(self.totals))

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile, milliseconds."""
        low, high = np.percentile(self.totals, [25, 75])
        return float(low), float(high)

    @property
    def images_per_second(self) -> float:
        """Throughput."""
        return 1000 * self.cameras / self.median

    @property
    def network(self) -> float:
        """Milliseconds of encoding and decoding alone."""
        return self.stage("encode") + self.stage("decode")

    def stage(self, name: str) -> float:
        """Median milliseconds of one stage; of the peer, its network is "encode"."""
        return float(np.median([stages[STAGES.index(name)] for stages in self.frames_ms]))


class Case:
    """An engine with pictures and queries, ready to run a frame.

    Args:
        result: says which case it is, and takes what is seen.
        loaded, engine: the model and the engine that runs it.
        reference: of :func:`reference_maps`.
    """

    def __init__(
        self, result: Result, loaded: LoadedModel, engine: Engine, reference: Tensor
    ) -> None:
        self.result = result
        self.model = loaded.model
        self.engine = engine
        self.images = pictures(result.cameras, *result.size)
        self.queries = loaded.query_encoder.encode(queries(result.queries))
        self.options = SegmentOptions(max_parts=1000)
        # Random weights put whole maps on one side of the threshold; each is moved so that a fifth lies above.
        random = result.model.startswith(RANDOM)
        level = reference.flatten(2).quantile(RANDOM_MASKS, dim=2)[..., None, None] if random else 0
        self.shift = torch.as_tensor(level, dtype=torch.float32, device=engine.device)
        self.reference = (reference.to(engine.device) - self.shift) > 0

    @torch.inference_mode()
    def run(self, stage: Stage) -> Tensor:
        """Run one frame, each of :data:`STAGES` in ``stage(name)``; returns the maps, on the engine's device."""
        engine = self.engine
        with stage("preprocess"):
            pixels = to_batch(self.images, self.model.spec.preprocessing, engine.device)
        with stage("encode"):
            features = engine.encode(pixels)
        with stage("decode"):
            logits = engine.decode_all(features, self.queries.conditions)
        with stage("postprocess"):
            maps = query_logits(logits, self.queries.query_rows)
            shifted = as_numpy_view(maps)
            shifted -= as_numpy_view(self.shift)
            host = occupied_maps(maps, 0.0) if maps.is_cuda else shifted
            for image, one in zip(self.images, host, strict=True):
                height, width = image.shape[:2]
                part_masks(one, self.queries.queries, height, width, self.options, "")
        return maps

    def frame(self) -> Tensor:
        """Run one frame and keep its times; returns the maps."""
        times_ms: list[float] = []

        @contextlib.contextmanager
        def timed(_: str) -> Iterator[None]:
            started = time.perf_counter()
            yield
            if self.engine.device.type == "cuda":
                torch.cuda.synchronize(self.engine.device)
            times_ms.append(1e3 * (time.perf_counter() - started))

        maps = self.run(timed)
        self.result.frames_ms.append(tuple(times_ms))
        return maps

    def warm_up(self) -> None:
        """The first frames, which compile and allocate; also where agreement and memory are taken."""
        if self.engine.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.engine.device)
        before = _memory(self.engine)
        size = self.model.spec.preprocessing.size
        self.engine.prepare(EngineShape(len(self.images), size, self.engine.max_queries))
        for _ in range(2):
            maps = self.frame()
        self.result.memory_mb = (_memory(self.engine) - before) / 1e6
        self.result.iou = _mean_iou(maps > 0, self.reference)
        self.result.frames_ms.clear()


class PeerCase:
    """The peer on the same pixels and phrases; only its network is timed."""

    def __init__(
        self,
        result: Result,
        peer: HuggingFacePeer,
        loaded: LoadedModel,
        reference: Tensor,
        pixels: Tensor,
    ):
        self.result = result
        self.peer = peer
        self.pixels = pixels
        assert loaded.query_encoder.text_encoder is not None  # it is a CLIPSeg
        self.tokens = peer.tokens(loaded.query_encoder.text_encoder, queries(result.queries))
        self.level = reference.flatten(2).quantile(RANDOM_MASKS, dim=2)[..., None, None]
        self.reference = reference > self.level

    def frame(self) -> Tensor:
        """Run the peer's network and keep its time."""
        started = time.perf_counter()
        logits = self.peer.run(self.pixels, self.tokens)
        self.result.frames_ms.append((0.0, 1e3 * (time.perf_counter() - started), 0.0, 0.0))
        return logits

    def warm_up(self) -> None:
        """One frame, and whether the peer says what we say."""
        self.result.iou = _mean_iou(self.frame() > self.level, self.reference)
        self.result.frames_ms.clear()


def _mean_iou(found: Tensor, expected: Tensor) -> float:
    """Mean IoU of masks bool [B, Q, h, w]; two empty ones agree."""
    union = (found | expected).sum((2, 3))
    return ((found & expected).sum((2, 3)) + (union == 0)).div(union.clamp(min=1)).mean().item()


def measure(
    models: Sequence[str],
    engines: Sequence[str],
    counts: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    cameras: Sequence[int],
    *,
    repeats: int,
    peer: bool = False,
    device: str = "auto",
    calibration: Sequence[RgbImage] = (),
) -> list[Result]:
    """Run all combinations, interleaved.

    Args:
        engines: "backend" or "backend:precision"; one that cannot be had is left out with a warning.
        counts: numbers of queries.
        sizes: (width, height) of the pictures.
        cameras: pictures in one call.
        repeats: rounds.
        peer: add Hugging Face's CLIPSeg; the model ``random:clipseg-vitb16`` then takes its weights.

    Raises:
        BackendError: ``peer`` is not installed, or is asked for on a GPU.
    """
    if peer and device != "cpu" and torch.cuda.is_available():
        raise BackendError("the peer runs on the CPU: compare engines there with --device cpu")
    cases: list[Case | PeerCase] = []
    workloads = [Workload(*row) for row in itertools.product(counts, sizes, cameras)]
    for name in models:
        theirs = HuggingFacePeer() if peer and name == PEER_MODEL else None
        model = theirs.twin() if theirs else open_model(name)
        expected = {workload: reference_maps(model, workload) for workload in workloads}
        for spec in engines:
            try:
                engine = open_engine(model, spec, device, calibration)
                cases += _engine_cases(name, model, engine, expected)
            except BackendError as error:
                log.warning("%s left out: %s", spec, error)
        if theirs:
            cases += _peer_cases(name, theirs, model, expected)
    for _ in tqdm(range(repeats), desc="rounds", leave=False):
        for case in cases:
            case.frame()
    return [case.result for case in cases]


def _engine_cases(
    name: str, model: LoadedModel, engine: Engine, expected: Mapping[Workload, Tensor]
) -> list[Case]:
    cases = [
        Case(Result(name, str(engine), *workload), model, engine, maps)
        for workload, maps in expected.items()
    ]
    _warm_up(cases)
    return cases


def _peer_cases(
    name: str, peer: HuggingFacePeer, model: LoadedModel, expected: Mapping[Workload, Tensor]
) -> list[PeerCase]:
    """One for each number of queries: a single camera, in the first of the sizes (all are squashed to one)."""
    cases: dict[int, PeerCase] = {}
    for (count, size, cameras), maps in expected.items():
        if cameras == 1 and count not in cases:
            pixels = to_pixels(pictures(1, *size)[0], model.model.spec.preprocessing)
            result = Result(name, peer.name, count, size, 1)
            cases[count] = PeerCase(result, peer, model, maps, pixels)
    _warm_up(cases.values())
    return list(cases.values())


def _warm_up(cases: Iterable[Case | PeerCase]) -> None:
    for case in tqdm(list(cases), desc="warming up", leave=False):
        case.warm_up()


@torch.inference_mode()
def reference_maps(loaded: LoadedModel, workload: Workload) -> Tensor:
    """PyTorch fp32 on the CPU, before anything moves the model: logits float [B, Q, h, w]."""
    model, query_encoder, _ = loaded
    encoded = query_encoder.encode(queries(workload.queries))
    images = pictures(workload.cameras, *workload.size)
    features = model.encode(to_batch(images, model.spec.preprocessing))
    chunks = split(encoded.conditions, MAX_QUERIES)
    logits = decode_in_chunks(model.decode, features, encoded.conditions, chunks)
    return query_logits(logits, encoded.query_rows)


def _memory(engine: Engine) -> int:
    if engine.device.type == "cuda":
        return torch.cuda.max_memory_allocated(engine.device)
    import psutil

    return psutil.Process().memory_info().rss
