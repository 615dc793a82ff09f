"""Common interface of the ways to run a network: prepare for shapes, encode an image, decode queries."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.engines.chunking import Chunk, decode_in_chunks, split
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    Features,
    PartLogits,
    Preprocessing,
    query_logits,
)
from ovps_core.pipeline.preprocess import RgbImage

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

    Pixels, features and logits are arrays of the engine's own kind: NumPy here, tensors in
    :class:`ovps_core.engines.tensor_engine.TensorEngine`.

    Attributes:
        name: the backend's name: "torch", "openvino", ...
        precision: number format of the arithmetic: "fp32", "bf16", "fp16", "mixed" (int8 and bf16) or "int8".
        max_queries: maximum number of names, and of object parts, in one pass of the decoder.
    """

    name: str
    precision: str
    max_queries: int = MAX_QUERIES

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._split: tuple[Conditions[Any], int, list[Chunk]] | None = None

    @abstractmethod
    def prepare(self, shape: EngineShape) -> None:
        """Compile, allocate and warm up for ``shape``; later calls with other shapes still work.

        Raises:
            BackendError: this engine cannot run the model; the message says why and what else can.
        """

    @abstractmethod
    def preprocess(self, images: Sequence[RgbImage], preprocessing: Preprocessing) -> Any:
        """RGB uint8 [H, W, 3] images of any sizes -> normalised pixels float32 [B, 3, h, w]."""

    @abstractmethod
    def encode(self, pixels: Any) -> Features[Any]:
        """Normalised pixels float [B, 3, H, W] -> features, valid until the next call."""

    @abstractmethod
    def decode(self, features: Any, conditions: Any) -> PartLogits[Any]:
        """1 to :attr:`max_queries` names and as many object parts or fewer -> float32 logits."""

    def run(self, pixels: Any, conditions: Conditions[Any]) -> PartLogits[Any]:
        """Normalised pixels float [B, 3, H, W] and any number of conditions -> float32 logits.

        The image is encoded once; the decoder runs once per chunk of :attr:`max_queries`.
        """
        with self.encoded(pixels) as features:
            return self.decode_all(features, conditions)

    @contextmanager
    def encoded(self, image: Any) -> Iterator[Features[Any]]:
        """Features of pixels float [B, 3, H, W], or of :meth:`encode_image`; no other thread uses the engine.

        Inside the block the steps of the engine may be called; without a copy of the features they are faster.
        """
        with self._turn, self._inference():
            yield image if isinstance(image, Features) else self.encode(self._placed(image))

    def encode_image(self, pixels: Any) -> Features[Any]:
        """Features of normalised pixels float [B, 3, H, W] that stay valid; see :meth:`decode_image`."""
        with self.encoded(pixels) as features:
            return replace(features, levels=tuple(self._copied(level) for level in features.levels))

    def decode_image(self, features: Features[Any], conditions: Conditions[Any]) -> PartLogits[Any]:
        """Float32 logits of any number of conditions, from :meth:`encode_image`."""
        with self.encoded(features):
            return self.decode_all(features, conditions)

    def decode_all(self, features: Features[Any], conditions: Conditions[Any]) -> PartLogits[Any]:
        """Any number of conditions -> float32 logits; for callers that have the engine's turn."""
        return decode_in_chunks(self.decode, features, conditions, self._chunks(conditions))

    def host_maps(
        self, logits: PartLogits[Any], queries: EncodedQueries, threshold: float
    ) -> NDArray[np.float32]:
        """Logits of a call -> one map per query on the host, float32 [B, Q, h, w], exact above ``threshold``."""
        return np.asarray(query_logits(logits, queries.query_rows), np.float32)

    def _inference(self) -> AbstractContextManager[object]:
        """Context in which the network runs."""
        return contextlib.nullcontext()

    def _placed(self, pixels: Any) -> Any:
        """The pixels on the device."""
        return pixels

    def _copied(self, level: Any) -> Any:
        """A level of features in memory of its own."""
        return level.copy()

    def _placed_chunk(self, chunk: Chunk) -> Chunk:
        """The chunk as arrays of the engine's kind, on its device."""
        return chunk

    def _chunks(self, conditions: Conditions[Any]) -> list[Chunk]:
        """Chunks of ``conditions``, placed; split and moved when they change, not per frame."""
        known = self._split
        if known is None or known[0] is not conditions or known[1] != self.max_queries:
            chunks = [self._placed_chunk(chunk) for chunk in split(conditions, self.max_queries)]
            self._split = known = conditions, self.max_queries, chunks
        return known[2]

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"
