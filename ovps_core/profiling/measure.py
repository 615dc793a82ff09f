"""Interleaved measurement: each case runs once per round, so that a busy machine slows all cases equally."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from ovps_core.checkpoints import LoadedModel
from ovps_core.engines.chunking import decode_in_chunks, split
from ovps_core.engines.cuda.postprocess import occupied_maps
from ovps_core.engines.interface import MAX_QUERIES, EngineShape
from ovps_core.engines.tensor_engine import TensorEngine
from ovps_core.errors import BackendError, MissingDependencyError, UsageError
from ovps_core.models.interface import query_logits
from ovps_core.pipeline.postprocess.components import SegmentOptions, part_masks
from ovps_core.pipeline.preprocess import RgbImage, to_batch, to_pixels
from ovps_core.profiling.case import Result, Stage, TimedCase, Workload
from ovps_core.profiling.objects import ObjectCase, object_inputs
from ovps_core.profiling.peer import PEER_MODEL, HuggingFacePeer
from ovps_core.profiling.workloads import RANDOM, camera_images, open_engine, open_model, queries
from ovps_core.structures.numpy_view import as_numpy_view
from ovps_core.structures.requirements import require_packages

AnyCase = TypeVar("AnyCase", bound="TimedCase[Any] | PeerCase")
RANDOM_MASKS = 0.8  # quantile of the logits of random weights that is the threshold of their masks
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """Combinations to measure: each model on each engine with each workload.

    Attributes:
        models: names, files or :data:`ovps_core.profiling.workloads.RANDOM_MODELS`.
        engines: "backend" or "backend:precision"; one that is not available is left out with a warning.
        query_counts: numbers of queries.
        sizes: (width, height) of the images.
        camera_counts: numbers of images in one call.
        repeats: number of rounds.
        peer: add Hugging Face's CLIPSeg; the model ``random:clipseg-vitb16`` then takes its weights.
        device: "auto", "cpu" or "cuda:N".
        calibration: images to calibrate mixed and int8 with; if empty, synthetic ones.
        short_side: size of the short side of images for models of objects, pixels; None for the model's own.
    """

    models: Sequence[str]
    engines: Sequence[str]
    query_counts: Sequence[int]
    sizes: Sequence[tuple[int, int]]
    camera_counts: Sequence[int]
    repeats: int = 10
    peer: bool = False
    device: str = "auto"
    calibration: Sequence[RgbImage] = ()
    short_side: int | None = None

    @property
    def workloads(self) -> list[Workload]:
        """Each number of queries with each size and number of cameras."""
        rows = itertools.product(self.query_counts, self.sizes, self.camera_counts)
        return [Workload(*row) for row in rows]


class Case(TimedCase[Tensor]):
    """An engine with images and queries, ready to run a frame.

    Args:
        result: names of the case, to which measurements are added.
        loaded: the model.
        engine: runs the model.
        reference: logits from :func:`reference_maps`.
    """

    def __init__(
        self, result: Result, loaded: LoadedModel, engine: TensorEngine, reference: Tensor
    ) -> None:
        super().__init__(result, engine)
        self.model = loaded.model
        self.images = camera_images(result.cameras, *result.size)
        self.queries = loaded.query_encoder.encode(queries(result.queries))
        self.options = SegmentOptions(max_parts=1000)
        # With random weights a whole map may be above or below 0. Shifted, a fifth of its values is above 0.
        random = result.model.startswith(RANDOM)
        level = reference.flatten(2).quantile(RANDOM_MASKS, dim=2)[..., None, None] if random else 0
        self.shift = torch.as_tensor(level, dtype=torch.float32, device=engine.device)
        self.reference = (reference.to(engine.device) - self.shift) > 0

    @torch.inference_mode()
    def run(self, stage: Stage) -> Tensor:
        """Run a frame; return its logits float [B, Q, h, w].

        Each of :data:`ovps_core.profiling.case.STAGES` runs in ``stage(name)``.
        """
        engine = self.engine
        with stage("preprocess"):
            pixels = engine.preprocess(self.images, self.model.spec.preprocessing)
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

    def prepare(self) -> None:
        """Compile and allocate."""
        size = self.model.spec.preprocessing.size
        self.engine.prepare(EngineShape(len(self.images), size, self.engine.max_queries))

    def compare(self, output: Tensor) -> None:
        """Record the agreement of the masks with those of the reference."""
        self.result.iou = _mean_iou(output > 0, self.reference)


class PeerCase:
    """The peer with the same pixels and phrases; only its network is timed."""

    def __init__(
        self,
        result: Result,
        peer: HuggingFacePeer,
        loaded: LoadedModel,
        reference: Tensor,
        pixels: Tensor,
    ) -> None:
        self.result = result
        self.peer = peer
        self.pixels = pixels
        assert loaded.query_encoder.text_encoder is not None  # it is a CLIPSeg
        self.tokens = peer.tokens(loaded.query_encoder.text_encoder, queries(result.queries))
        self.level = reference.flatten(2).quantile(RANDOM_MASKS, dim=2)[..., None, None]
        self.reference = reference > self.level

    def frame(self) -> Tensor:
        """Run the network of the peer, record its time and return its logits."""
        started = time.perf_counter()
        logits = self.peer.run(self.pixels, self.tokens)
        self.result.frames_ms.append((0.0, 1e3 * (time.perf_counter() - started), 0.0, 0.0))
        return logits

    def warm_up(self) -> None:
        """Run one frame and record the agreement of its masks with ours."""
        self.result.iou = _mean_iou(self.frame() > self.level, self.reference)
        self.result.frames_ms.clear()


def _mean_iou(found: Tensor, expected: Tensor) -> float:
    """Mean IoU of masks bool [B, Q, h, w]; two empty ones agree."""
    union = (found | expected).sum((2, 3))
    return ((found & expected).sum((2, 3)) + (union == 0)).div(union.clamp(min=1)).mean().item()


def measure(sweep: Sweep) -> list[Result]:
    """Run all combinations, interleaved.

    Raises:
        MissingDependencyError: psutil is not installed, or transformers for the peer.
        UsageError: the peer is to be measured on a GPU.
    """
    require_packages("psutil", extra="bench")
    if sweep.peer and sweep.device != "cpu" and torch.cuda.is_available():
        raise UsageError("the peer runs on the CPU: compare engines there with --device cpu")
    cases: list[TimedCase[Any] | PeerCase] = []
    for name in sweep.models:
        peer = HuggingFacePeer() if sweep.peer and name == PEER_MODEL else None
        loaded = peer.twin() if peer else open_model(name)
        finds_objects = loaded.spec.detects_objects
        expected = {} if finds_objects else {w: reference_maps(loaded, w) for w in sweep.workloads}
        inputs = object_inputs(name, loaded, sweep) if finds_objects else []
        for engine_name in sweep.engines:
            try:
                engine = open_engine(loaded, engine_name, sweep.device, sweep.calibration)
                if finds_objects:
                    cases += _warm([ObjectCase(name, engine, each) for each in inputs])
                else:
                    cases += _engine_cases(name, loaded, engine, expected)
            except (BackendError, MissingDependencyError, UsageError) as error:
                log.warning("%s left out: %s", engine_name, error)
        if peer:
            cases += _peer_cases(name, peer, loaded, expected)
    for _ in tqdm(range(sweep.repeats), desc="rounds", leave=False):
        for case in cases:
            case.frame()
    return [case.result for case in cases]


def _engine_cases(
    name: str, loaded: LoadedModel, engine: TensorEngine, expected: Mapping[Workload, Tensor]
) -> list[Case]:
    return _warm(
        [
            Case(Result(name, str(engine), *workload), loaded, engine, maps)
            for workload, maps in expected.items()
        ]
    )


def _peer_cases(
    name: str, peer: HuggingFacePeer, loaded: LoadedModel, expected: Mapping[Workload, Tensor]
) -> list[PeerCase]:
    """One case per number of queries, with one camera and the first image size: the pixels have one size."""
    cases: dict[int, PeerCase] = {}
    for (count, size, cameras), maps in expected.items():
        if cameras == 1 and count not in cases:
            pixels = to_pixels(camera_images(1, *size)[0], loaded.model.spec.preprocessing)
            result = Result(name, peer.name, count, size, 1)
            cases[count] = PeerCase(result, peer, loaded, maps, pixels)
    return _warm(list(cases.values()))


def _warm(cases: list[AnyCase]) -> list[AnyCase]:
    for case in tqdm(cases, desc="warming up", leave=False):
        case.warm_up()
    return cases


@torch.inference_mode()
def reference_maps(loaded: LoadedModel, workload: Workload) -> Tensor:
    """Logits float [B, Q, h, w] of PyTorch fp32 on the CPU; call it before an engine moves the model."""
    model, query_encoder, _ = loaded
    encoded = query_encoder.encode(queries(workload.queries))
    images = camera_images(workload.cameras, *workload.size)
    features = model.encode(to_batch(images, model.spec.preprocessing))
    chunks = split(encoded.conditions, MAX_QUERIES)
    logits = decode_in_chunks(model.decode, features, encoded.conditions, chunks)
    return query_logits(logits, encoded.query_rows)
