"""Part segmenter: masks of parts from an image and phrases, with any model on any engine."""

from __future__ import annotations

import functools
import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ovps_core.checkpoints import CheckpointInfo, LoadedModel, ModelFile, open_model
from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.engines import DEFAULT_CACHE, EngineCache, make_engine
from ovps_core.engines.interface import Engine, EngineShape
from ovps_core.errors import QueryError, UsageError
from ovps_core.language.parser import read_queries
from ovps_core.language.selection import Selectors
from ovps_core.models.confidence import Confidence
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    ModelSpec,
    QueryEncoder,
    QueryRows,
    require_accepted,
)
from ovps_core.objects.object_parts import ObjectOptions, ObjectParts
from ovps_core.objects.object_sources import OWN, DetectedObjects, ObjectSource, OwnInstances
from ovps_core.objects.part_evidence import PartEvidence
from ovps_core.objects.request_reader import RequestReader
from ovps_core.pipeline.encoded_image import EncodedImage
from ovps_core.pipeline.postprocess.components import (
    SegmentOptions,
    full_size,
    logit,
    part_masks,
)
from ovps_core.pipeline.postprocess.peaks import Peak, find_peaks
from ovps_core.pipeline.preprocess import RgbImage, check_image
from ovps_core.structures.image_files import load_image
from ovps_core.structures.masks import ObjectMask, PartMask, PartMasks
from ovps_core.structures.query import PartQuery, RefusedQuery

if TYPE_CHECKING:
    from typing_extensions import Self

    from ovps_core.models.network import PartModel

Queries = str | Iterable[str | PartQuery] | EncodedQueries
_MAX_CACHED_LISTS = 32  # lists of queries whose encoding is cached


class PartSegmenter:
    """Segmenter of images for queries. Calls are independent; only caches are kept between them.

        >>> segmenter = PartSegmenter.from_pretrained("ovps-tiny")
        >>> masks = segmenter.segment("docs/images/table.jpg", ["knife handle", "mug handle"])
        >>> sorted({part.query.text for part in masks.parts})
        ['knife handle', 'mug handle']

    Args:
        loaded: network, query encoder and header of the weights.
        engine: runs the network.
        objects: source of object instances, so that every part belongs to one; "own" takes the model's own maps.
            None looks for parts everywhere.
        object_options: options of the search within objects.
        depth: depth comes with the images, so that "nearest" can be answered
            (:func:`~ovps_core.pipeline.objects.choose_by_depth`).
    """

    def __init__(
        self,
        loaded: LoadedModel | ModelFile,
        engine: Engine,
        objects: ObjectSource | Literal["own"] | None = None,
        object_options: ObjectOptions | None = None,
        depth: bool = False,
    ) -> None:
        self._loaded = loaded
        self.spec: ModelSpec = loaded.spec
        self.query_encoder: QueryEncoder = loaded.query_encoder
        self.info: CheckpointInfo = loaded.info
        self.engine = engine
        evidence = PartEvidence(self.query_encoder, self.spec, self.encode, self._maps_of)
        source = OwnInstances(evidence) if isinstance(objects, str) else objects
        self._objects: ObjectParts | None = None
        if source is not None:
            self._objects = ObjectParts(source, evidence, object_options or ObjectOptions())
        self._reader = RequestReader(
            self.query_encoder, self.spec, Selectors(source is not None, depth), source
        )
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
        objects: str | Path | None = None,
        object_options: ObjectOptions | None = None,
        depth: bool = False,
    ) -> Self:
        """Load a model by name or file (see ``ovps models``).

        Args:
            backend, device, precision, calibration: see :func:`ovps_core.engines.make_engine`.
            engine_cache: folder of built engines, with a callback for the progress of a build.
            objects: "own" for the model's own instances, or name or file of an object model (see ``ovps models``);
                None or "" looks for parts everywhere.
            object_options, depth: see the class.

        Raises:
            CheckpointError: the weights are missing, damaged or belong to another model.
            BackendError, UsageError, MissingDependencyError: see :func:`ovps_core.engines.make_engine`.
        """
        loaded = open_model(name)
        if loaded.query_encoder.text_encoder is not None:
            loaded.query_encoder.text_encoder.keep_embeddings(loaded.info.digest)
        engine = make_engine(
            loaded,
            backend=backend,
            device=device,
            precision=precision,
            calibration=calibration,
            query_encoder=loaded.query_encoder,
            engine_cache=engine_cache,
        )
        source: ObjectSource | Literal["own"] | None = None
        if objects:
            source = "own" if str(objects) == OWN else DetectedObjects.load(objects, device)
        return cls(loaded, engine, source, object_options, depth)

    @property
    def model(self) -> PartModel:
        """The network; built now if the engine runs without it."""
        return self._loaded.model

    @property
    def name(self) -> str:
        """Name and digest of the weights, and of those of the object model."""
        names = (str(self.info), self._objects.source.name if self._objects else "")
        return " + ".join(filter(None, names))

    @property
    def runs_on(self) -> str:
        """Name of the engine."""
        return self.engine.name

    @property
    def finds_objects(self) -> bool:
        """True if every part belongs to an object."""
        return self._objects is not None

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
        queries, refused = read_queries(items)
        accepted, not_read = self._reader.read(queries)
        refused = (*refused, *not_read)
        require_accepted(accepted, refused)
        try:
            encoded = self.query_encoder.encode(accepted)
        except QueryError as error:
            require_accepted((), (*refused, *error.refused))
            raise
        return replace(encoded, refused=(*refused, *encoded.refused))

    def read(
        self, queries: Sequence[PartQuery]
    ) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
        """Divide queries into those that can be answered and the others; fast, no network runs."""
        accepted, refused = self._reader.read(queries)
        known, unknown = self.query_encoder.read(accepted)
        return known, (*refused, *unknown)

    def warm_up(self, *, batch: int = 1) -> None:
        """Compile and allocate for ``batch`` images, and run every stage once, before the first frame."""
        size = self.spec.preprocessing.size
        self.engine.prepare(EngineShape(batch=batch, size=size))
        queries = EncodedQueries(
            (PartQuery("warm up", object="warm up"),),
            Conditions.placeholder(self.spec.condition_dim),
            (QueryRows(names=(0,)),),
        )
        for maps in self.query_maps([np.zeros((*size, 3), np.uint8)] * batch, queries):
            self._masks(maps, queries, *size, SegmentOptions())

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
        height, width = image.shape[:2]
        return EncodedImage(self.engine.encode_image(pixels), height, width, image)

    def segment(
        self,
        image: RgbImage | str | Path | EncodedImage,
        queries: Queries,
        options: SegmentOptions | None = None,
        *,
        objects: Sequence[ObjectMask] | None = None,
    ) -> PartMasks:
        """Find parts in one image.

        Args:
            image: RGB uint8 [H, W, 3], a file, or the result of :meth:`encode`.
            queries: a text, a list of texts or :class:`PartQuery`, or the result of :meth:`encode_queries`.
            options: thresholds.
            objects: objects of this image that the caller knows, such as
                :func:`~ovps_core.pipeline.objects.objects_from_boxes`, in place of the segmenter's source.

        Raises:
            ImageError: not an image.
            QueryError: see :meth:`encode_queries`.
            UsageError: ``objects`` are given to a segmenter without a source of objects.
        """
        if not isinstance(image, EncodedImage):
            image = load_image(image) if isinstance(image, str | Path) else image
            return self.segment_batch([image], queries, options, objects=[objects])[0]
        encoded, options = self.encode_queries(queries), options or SegmentOptions()
        if self._objects is not None:
            return self._masks_of_objects(image, encoded, options, objects)
        _refuse_objects(objects)
        maps = self._maps_of(image, encoded, logit(options.mask_threshold))
        return self._masks(maps, encoded, image.height, image.width, options)

    def segment_batch(
        self,
        images: Sequence[RgbImage],
        queries: Queries,
        options: SegmentOptions | None = None,
        *,
        objects: Sequence[Sequence[ObjectMask] | None] | None = None,
    ) -> list[PartMasks]:
        """:meth:`segment` of several images, of any sizes; without objects in one pass of the network."""
        encoded, options = self.encode_queries(queries), options or SegmentOptions()
        given = objects or [None] * len(images)
        if self._objects is not None:
            return [
                self._masks_of_objects(image, encoded, options, known)
                for image, known in zip(images, given, strict=True)
            ]
        for known in given:
            _refuse_objects(known)
        maps = self.query_maps(images, encoded, logit(options.mask_threshold))
        return [
            self._masks(image_maps, encoded, image.shape[0], image.shape[1], options)
            for image, image_maps in zip(images, maps, strict=True)
        ]

    def probabilities(self, image: RgbImage, queries: Queries) -> NDArray[np.float32]:
        """Probability per query and pixel, float32 [Q, H, W]."""
        maps = self.query_maps([image], self.encode_queries(queries))
        return full_size(maps, *image.shape[:2])[0]

    def find_peaks(self, image: EncodedImage, queries: Queries) -> tuple[Peak, ...]:
        """The most probable pixel of each query, also where it is below every threshold.

        Some models compare the queries of a list with each other: give the list that was asked, not a part of it.

        Args:
            image: the result of :meth:`encode`.
            queries: see :meth:`encode_queries`; those that are refused have no peak.
        """
        encoded = self.encode_queries(queries)
        logits = self.engine.decode_image(image.features, encoded.conditions)
        maps = self.engine.host_maps(logits, encoded, -math.inf)
        return find_peaks(maps[0], image.height, image.width)

    def confidence(self, image: EncodedImage) -> Confidence | None:
        """Confidence of the model on an image, beside the usual one; None if the model has no measure of it.

        Args:
            image: the result of :meth:`encode`.
        """
        measure = self.spec.confidence
        return None if measure is None else measure(image.features)

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
        logits = self.engine.run(pixels, queries.conditions)
        return self.engine.host_maps(logits, queries, threshold)

    def _maps_of(
        self, image: EncodedImage, queries: EncodedQueries, threshold: float = -math.inf
    ) -> NDArray[np.float32]:
        """Mask logits of an encoded image, float32 [Q, h, w]; see :meth:`query_maps`."""
        if not queries.queries:
            return np.zeros((0, 1, 1), dtype=np.float32)
        logits = self.engine.decode_image(image.features, queries.conditions)
        return self.engine.host_maps(logits, queries, threshold)[0]

    def _masks_of_objects(
        self,
        image: RgbImage | EncodedImage,
        queries: EncodedQueries,
        options: SegmentOptions,
        objects: Sequence[ObjectMask] | None,
    ) -> PartMasks:
        """Parts of objects; queries about no known object are answered from the whole image."""
        assert self._objects is not None
        rgb = image.rgb if isinstance(image, EncodedImage) else image
        check_image(rgb)
        height, width = rgb.shape[:2]
        elsewhere = self._parts_of_no_object(image, queries, options)
        found = self._objects.find(rgb, queries, options, objects, elsewhere)
        return PartMasks(
            height,
            width,
            queries.queries,
            found.parts,
            self.name,
            queries.refused,
            found.objects,
        )

    def _parts_of_no_object(
        self, image: RgbImage | EncodedImage, queries: EncodedQueries, options: SegmentOptions
    ) -> tuple[PartMask, ...]:
        """Parts in the whole image, of queries about no known object; of those that choose, all candidates."""
        assert self._objects is not None
        alone = [not self._objects.answers(query) for query in queries.queries]
        if not any(alone):
            return ()
        whole = image if isinstance(image, EncodedImage) else self.encode(image)
        maps = self._maps_of(whole, queries, logit(options.mask_threshold))[alone]
        found: list[PartMask] = []
        for query, logits in zip(itertools.compress(queries.queries, alone), maps, strict=True):
            free, limits = query, options
            if query.which:  # it chooses among all of them
                free = replace(query, max_parts=0)
                limits = replace(options, max_parts=sys.maxsize)
            size = whole.height, whole.width
            parts = part_masks(logits[None], [free], *size, limits, self.name).parts
            found += [replace(part, query=query) for part in parts]
        return tuple(found)

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


def _refuse_objects(objects: Sequence[ObjectMask] | None) -> None:
    if objects is not None:
        raise UsageError(
            "objects are given to a segmenter that does not use them; load it with objects=, such as objects='own'"
        )
