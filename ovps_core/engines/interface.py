"""Common interface of the ways to run a network: prepare for shapes, encode an image, decode queries."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ovps_core.engines.chunking import Chunk, decode_in_chunks, split
from ovps_core.engines.cuda.preprocess import to_batch_cuda
from ovps_core.models.interface import Conditions, Features, PartLogits, Preprocessing
from ovps_core.pipeline.preprocess import RgbImage, to_batch

MAX_QUERIES = 32


@dataclass(frozen=True)
class EngineShape:
    """Shapes that an engine is prepared for.

    Attributes:
        batch: images per call.
        size: (height, width) of the pixels.
        max_queries: maximum number of names, and of object parts, in one call; more are run in chunks.
    """

    batch: int
    size: tuple[int, int]
    max_queries: int = MAX_QUERIES


class Engine(ABC):
    """A network ready to run. Calls from several threads take turns.

    Attributes:
        name: the backend's name: "torch", "openvino", ...
        precision: number format of the arithmetic: "fp32", "bf16", "fp16", "mixed" (int8 and bf16) or "int8".
        device: device that takes the pixels and holds the logits.
        max_queries: maximum number of names, and of object parts, in one pass of the decoder.
    """

    name: str
    precision: str
    device: torch.device = torch.device("cpu")
    max_queries: int = MAX_QUERIES

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._split: tuple[Conditions, int, list[Chunk]] | None = None

    @abstractmethod
    def prepare(self, shape: EngineShape) -> None:
        """Compile, allocate and warm up for ``shape``; later calls with other shapes still work.

        Raises:
            BackendError: this engine cannot run the model; the message says why and what else can.
        """

    @abstractmethod
    def encode(self, pixels: Tensor) -> Features:
        """Normalised pixels float [B, 3, H, W] on :attr:`device` -> features, valid until the next call."""

    @abstractmethod
    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """1 to :attr:`max_queries` names and as many object parts or fewer on :attr:`device` -> float32 logits."""

    def preprocess(self, images: Sequence[RgbImage], preprocessing: Preprocessing) -> Tensor:
        """RGB uint8 [H, W, 3] images of any sizes -> normalised pixels float32 [B, 3, h, w] on :attr:`device`."""
        if self.device.type == "cuda":
            return to_batch_cuda(images, preprocessing, self.device)
        return to_batch(images, preprocessing)

    def run(self, pixels: Tensor, conditions: Conditions) -> PartLogits:
        """Normalised pixels float [B, 3, H, W] and any number of conditions -> float32 logits on :attr:`device`.

        The image is encoded once; the decoder runs once per chunk of :attr:`max_queries`.
        """
        with self._turn, torch.inference_mode():
            features = self.encode(pixels.to(self.device, non_blocking=True))
            return self.decode_all(features, conditions)

    def encode_image(self, pixels: Tensor) -> Features:
        """Features of normalised pixels float [B, 3, H, W] that stay valid; see :meth:`decode_image`."""
        with self._turn, torch.inference_mode():
            features = self.encode(pixels.to(self.device, non_blocking=True))
            return replace(features, levels=tuple(level.clone() for level in features.levels))

    def decode_image(self, features: Features, conditions: Conditions) -> PartLogits:
        """Float32 logits of any number of conditions on :attr:`device`, from :meth:`encode_image`."""
        with self._turn, torch.inference_mode():
            return self.decode_all(features, conditions)

    def decode_all(self, features: Features, conditions: Conditions) -> PartLogits:
        """Any number of conditions on any device -> float32 logits on :attr:`device`."""
        return decode_in_chunks(self.decode, features, conditions, self._chunks(conditions))

    def _chunks(self, conditions: Conditions) -> list[Chunk]:
        """Chunks of ``conditions`` on :attr:`device`; split and moved when they change, not per frame."""
        known = self._split
        if known is None or known[0] is not conditions or known[1] != self.max_queries:
            chunks = [chunk.to(self.device) for chunk in split(conditions, self.max_queries)]
            self._split = known = conditions, self.max_queries, chunks
        return known[2]

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"
