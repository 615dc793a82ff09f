"""Part segmenter: masks of parts from an image and phrases, with any model on any engine."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovps_core.checkpoints import CheckpointInfo, LoadedModel, ModelFile, find_weights
from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.engines import DEFAULT_CACHE, EngineCache, make_engine
from ovps_core.engines.cuda.postprocess import occupied_maps
from ovps_core.engines.interface import Engine, EngineShape
from ovps_core.errors import QueryError
from ovps_core.language.parser import read_queries
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    Features,
    ModelSpec,
    PartLogits,
    PartModel,
    QueryEncoder,
    QueryRows,
    query_logits,
    require_accepted,
)
from ovps_core.models.text.tower import EmbeddingCache
from ovps_core.pipeline.postprocess.components import (
    SegmentOptions,
    full_size,
    logit,
    part_masks,
)
from ovps_core.pipeline.preprocess import RgbImage, check_image, load_image
from ovps_core.structures.cache_folder import cache_folder
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.query import PartQuery

Queries = str | Iterable[str | PartQuery] | EncodedQueries
_MAX_CACHED_LISTS = 32  # lists of queries whose encoding is cached


@dataclass(frozen=True)
class EncodedImage:
    """An image that was encoded once and can be queried any number of times.

    Attributes:
        features: features of the image, on the engine's device; they stay valid.
        height, width: size of the image, pixels.
    """

    features: Features
    height: int
    width: int


class PartSegmenter:
    """Segmenter of images for queries. Calls are independent; only caches are kept between them.

        >>> segmenter = PartSegmenter.from_pretrained("ovps-tiny")
        >>> masks = segmenter.segment("docs/images/table.jpg", ["knife handle", "mug handle"])
        >>> [part.query.part for part in masks.parts]
        ['handle', 'handle']

    Args:
        loaded: network, query encoder and header of the weights.
        engine: runs the network.
    """

    def __init__(self, loaded: LoadedModel | ModelFile, engine: Engine) -> None:
        self._loaded = loaded
        self.spec: ModelSpec = loaded.spec
        self.query_encoder: QueryEncoder = loaded.query_encoder
        self.info: CheckpointInfo = loaded.info
        self.engine = engine
        self._encode_queries = functools.lru_cache(_MAX_CACHED_LISTS)(self._encode_list)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = DEFAULT_MODEL,
        *,
        backend: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        calibration: Sequence[RgbImage] = (),
        engine_cache: EngineCache = DEFAULT_CACHE,
    ) -> PartSegmenter:
        """Load a model by name or file (see ``ovps models``).

        Args:
            backend, device, precision, calibration: see :func:`ovps_core.engines.make_engine`.
            engine_cache: folder of built engines, with a callback for the progress of a build.

        Raises:
            CheckpointError: the weights are missing, damaged or belong to another model.
            BackendError, UsageError, MissingDependencyError: see :func:`ovps_core.engines.make_engine`.
        """
        loaded = ModelFile(find_weights(name))
        if loaded.query_encoder.text_encoder is not None:
            loaded.query_encoder.text_encoder.cache = EmbeddingCache(
                loaded.info.digest, cache_folder() / "text.sqlite"
            )
        engine = make_engine(
            loaded,
            backend=backend,
            device=device,
            precision=precision,
            calibration=calibration,
            query_encoder=loaded.query_encoder,
            engine_cache=engine_cache,
        )
        return cls(loaded, engine)

    @property
    def model(self) -> PartModel:
        """The network; built now if the engine runs without it."""
        return self._loaded.model

    @property
    def name(self) -> str:
        """Name and digest of the weights."""
        return str(self.info)

    def encode_queries(self, queries: Queries) -> EncodedQueries:
        """Parse and encode queries; call it when they change, not per frame.

        Phrases that cannot be parsed, or that the model cannot answer, are in ``refused``; the others are encoded.

        Args:
            queries: a text, a list of texts or :class:`PartQuery`, or the result of an earlier call.

        Raises:
            QueryError: every phrase is refused; the message has all reasons.
        """
        if isinstance(queries, EncodedQueries):
            return queries
        items = (queries,) if isinstance(queries, str) else tuple(queries)
        return self._encode_queries(items)

    def _encode_list(self, items: tuple[str | PartQuery, ...]) -> EncodedQueries:
        accepted, refused = read_queries(items)
        require_accepted(accepted, refused)
        try:
            encoded = self.query_encoder.encode(accepted)
        except QueryError as error:
            require_accepted((), (*refused, *error.refused))
            raise
        return replace(encoded, refused=(*refused, *encoded.refused))

    def warm_up(self, *, batch: int = 1) -> None:
        """Compile and allocate for ``batch`` images, and run every stage once, before the first frame."""
        size = self.spec.preprocessing.size
        self.engine.prepare(EngineShape(batch=batch, size=size))
        queries = EncodedQueries(
            (PartQuery("warm up", object="warm up"),),
            Conditions.placeholder(self.spec.condition_dim),
            (QueryRows(names=(0,)),),
        )
        self.segment_batch([np.zeros((*size, 3), np.uint8)] * batch, queries)

    def encode(self, image: RgbImage | str | Path) -> EncodedImage:
        """Encode an image once, to segment it any number of times with :meth:`segment`.

        Args:
            image: RGB uint8 [H, W, 3], or a file.

        Raises:
            ImageError: not an image.
        """
        if isinstance(image, str | Path):
            image = load_image(image)
        check_image(image)
        pixels = self.engine.preprocess([image], self.spec.preprocessing)
        return EncodedImage(self.engine.encode_image(pixels), *image.shape[:2])

    def segment(
        self,
        image: RgbImage | str | Path | EncodedImage,
        queries: Queries,
        options: SegmentOptions | None = None,
    ) -> PartMasks:
        """Find parts in one image.

        Args:
            image: RGB uint8 [H, W, 3], a file, or the result of :meth:`encode`.
            queries: a text, a list of texts or :class:`PartQuery`, or the result of :meth:`encode_queries`.
            options: thresholds.

        Raises:
            ImageError: not an image.
            QueryError: see :meth:`encode_queries`.
        """
        if not isinstance(image, EncodedImage):
            image = load_image(image) if isinstance(image, str | Path) else image
            return self.segment_batch([image], queries, options)[0]
        encoded, options = self.encode_queries(queries), options or SegmentOptions()
        maps = np.zeros((1, 0, 1, 1), dtype=np.float32)
        if encoded.queries:
            logits = self.engine.decode_image(image.features, encoded.conditions)
            maps = self._host_maps(logits, encoded, logit(options.mask_threshold))
        return self._masks(maps[0], encoded, image.height, image.width, options)

    def segment_batch(
        self, images: Sequence[RgbImage], queries: Queries, options: SegmentOptions | None = None
    ) -> list[PartMasks]:
        """:meth:`segment` of several images, of any sizes, in one pass of the network."""
        encoded, options = self.encode_queries(queries), options or SegmentOptions()
        maps = self.query_maps(images, encoded, logit(options.mask_threshold))
        return [
            self._masks(image_maps, encoded, image.shape[0], image.shape[1], options)
            for image, image_maps in zip(images, maps, strict=True)
        ]

    def probabilities(self, image: RgbImage, queries: Queries) -> NDArray[np.float32]:
        """Probability per query and pixel, float32 [Q, H, W]."""
        maps = self.query_maps([image], self.encode_queries(queries))
        return full_size(maps, *image.shape[:2])[0]

    def query_maps(
        self, images: Sequence[RgbImage], queries: EncodedQueries, threshold: float = -math.inf
    ) -> NDArray[np.float32]:
        """Mask logits at the network's output size, float32 [B, Q, h, w].

        On a GPU only the boxes around values above ``threshold`` are copied to the host; elsewhere the map holds a
        constant at or below it.
        """
        for image in images:
            check_image(image)
        if not queries.queries or not images:
            return np.zeros((len(images), len(queries.queries), 1, 1), dtype=np.float32)
        pixels = self.engine.preprocess(images, self.spec.preprocessing)
        return self._host_maps(self.engine.run(pixels, queries.conditions), queries, threshold)

    def _host_maps(
        self, logits: PartLogits, queries: EncodedQueries, threshold: float
    ) -> NDArray[np.float32]:
        maps = query_logits(logits, queries.query_rows)
        return occupied_maps(maps, threshold) if maps.is_cuda else maps.numpy()

    def _masks(
        self,
        maps: NDArray[np.float32],
        queries: EncodedQueries,
        height: int,
        width: int,
        options: SegmentOptions,
    ) -> PartMasks:
        masks = part_masks(maps, queries.queries, height, width, options, self.name)
        return replace(masks, refused=queries.refused)
