"""The product in one object: give it an image and words, get part masks."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ovps_core.checkpoints import CheckpointInfo, find_weights, load_model
from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.engines import DEFAULT_CACHE, EngineCache, make_engine
from ovps_core.engines.cuda.postprocess import occupied_maps
from ovps_core.engines.interface import Engine, EngineShape
from ovps_core.language.parser import parse_queries
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    PartModel,
    QueryRows,
    query_logits,
)
from ovps_core.models.text.tower import EmbeddingCache
from ovps_core.pipeline.postprocess.components import SegmentOptions, logit, part_masks
from ovps_core.pipeline.preprocess import RgbImage, check_image, load_image, to_batch
from ovps_core.structures.cache_folder import cache_folder
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.query import PartQuery

Queries = str | Iterable[str | PartQuery] | EncodedQueries
_PLANS = 32  # lists of queries kept ready


class PartSegmenter:
    """Segments images for queries; holds no state between calls but caches.

        >>> segmenter = PartSegmenter.from_pretrained("ovps-tiny")
        >>> masks = segmenter.segment(image, ["knife handle", "mug rim"])

    Args:
        model: the network, for turning words into conditions.
        info: what its weights are.
        engine: what runs it.
    """

    def __init__(self, model: PartModel, info: CheckpointInfo, engine: Engine) -> None:
        self.model = model
        self.info = info
        self.engine = engine
        self._plan = functools.lru_cache(_PLANS)(model.plan)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = DEFAULT_MODEL,
        *,
        backend: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        calibration: Sequence[RgbImage] = (),
        engines: EngineCache = DEFAULT_CACHE,
    ) -> PartSegmenter:
        """A segmenter with the weights of a named model or file (see ``ovps models``).

        Args:
            backend, device, precision, calibration: see :func:`ovps_core.engines.make_engine`.
            engines: where engines that must be built are kept, and who is told while one is built.

        Raises:
            CheckpointError: the weights are not there, damaged or of another model.
            BackendError: the backend, device or precision cannot be had.
        """
        model, info = load_model(find_weights(name))
        text = getattr(model, "text", None)
        if text is not None:
            text.cache = EmbeddingCache(info.digest, cache_folder() / "text.sqlite")
        engine = make_engine(
            model,
            backend=backend,
            device=device,
            precision=precision,
            calibration=calibration,
            cache=engines,
        )
        return cls(model, info, engine)

    @property
    def name(self) -> str:
        """Name and digest of the weights."""
        return str(self.info)

    def plan(self, queries: Queries) -> EncodedQueries:
        """Read and encode queries; do it once when they change, not per frame.

        Raises:
            QueryError: a text cannot be read, or the model cannot ask for it.
        """
        if isinstance(queries, EncodedQueries):
            return queries
        return self._plan(parse_queries(queries))

    def warm_up(self, *, batch: int = 1) -> None:
        """Let the engine compile and allocate, and every stage run once, before the first frame."""
        size = self.model.preprocessing.size
        self.engine.prepare(EngineShape(batch=batch, size=size))
        name = torch.zeros(1, self.model.condition_dim)  # no word: every model takes it
        nothing = torch.zeros(0, dtype=torch.int64)
        conditions = Conditions(name, name[:0], nothing, nothing)
        query = PartQuery("warm up", object="warm up")
        plan = EncodedQueries((query,), conditions, (QueryRows(names=(0,)),))
        self.segment_batch([np.zeros((*size, 3), np.uint8)] * batch, plan)

    def segment(
        self, image: RgbImage | str | Path, queries: Queries, options: SegmentOptions | None = None
    ) -> PartMasks:
        """Find parts in one image.

        Args:
            image: RGB uint8 [H, W, 3], or a file.
            queries: text, list of texts or :class:`PartQuery`, or what :meth:`plan` gave.
            options: thresholds.

        Raises:
            ImageError: not an image.
            QueryError: see :meth:`plan`.
        """
        if isinstance(image, str | Path):
            image = load_image(image)
        return self.segment_batch([image], queries, options)[0]

    def segment_batch(
        self, images: Sequence[RgbImage], queries: Queries, options: SegmentOptions | None = None
    ) -> list[PartMasks]:
        """The same for several images, of any sizes, in one pass of the network."""
        plan, options = self.plan(queries), options or SegmentOptions()
        maps = self.query_maps(images, plan, logit(options.mask_threshold))
        return [
            part_masks(one, plan.queries, image.shape[0], image.shape[1], options, self.name)
            for image, one in zip(images, maps, strict=True)
        ]

    def probabilities(self, image: RgbImage, queries: Queries) -> NDArray[np.float32]:
        """Probability per query and pixel, float32 [Q, H, W]."""
        return full_size(self.query_maps([image], self.plan(queries)), *image.shape[:2])[0]

    def query_maps(
        self, images: Sequence[RgbImage], plan: EncodedQueries, threshold: float = -math.inf
    ) -> NDArray[np.float32]:
        """Coarse logits float32 [B, Q, h, w]; far from what is above ``threshold`` they need not be true."""
        for image in images:
            check_image(image)
        if not plan.queries or not images:
            return np.zeros((len(images), len(plan.queries), 1, 1), dtype=np.float32)
        pixels = to_batch(images, self.model.preprocessing, self.engine.device)
        maps = query_logits(self.engine.run(pixels, plan.conditions), plan.query_rows)
        return occupied_maps(maps, threshold) if maps.is_cuda else maps.numpy()


def full_size(maps: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Coarse logits float32 [B, Q, h, w] -> probabilities float32 [B, Q, height, width]."""
    size = (height, width)
    return F.interpolate(torch.from_numpy(maps), size, mode="bilinear").sigmoid().numpy()
