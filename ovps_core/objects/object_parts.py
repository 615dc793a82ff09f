"""Parts of each object: the part model looks at the crop of every object, and each part belongs to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ovps_core.models.interface import EncodedQueries
from ovps_core.objects.object_sources import ObjectSource
from ovps_core.objects.part_evidence import PartEvidence
from ovps_core.pipeline.encoded_image import EncodedImage
from ovps_core.pipeline.objects import (
    best_parts,
    check_objects,
    choose,
    crop_around,
    region_of,
    without_duplicates,
)
from ovps_core.pipeline.postprocess.components import SegmentOptions, cut_components
from ovps_core.pipeline.postprocess.margins import with_margins
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import ObjectMask, PartMask
from ovps_core.structures.query import PartQuery


@dataclass(frozen=True)
class ObjectOptions:
    """Options of the search within objects.

    Attributes:
        crops: look at the crop of each object at full resolution; otherwise once at the whole image.
        max_objects: maximum number of objects per image, highest score first; each costs one pass of the part
            model.
        padding: surroundings of an object in its crop, on each side, as a share of the object's size.
    """

    crops: bool = True
    max_objects: int = 12
    padding: float = 0.2


@dataclass(frozen=True)
class ObjectsAndParts:
    """Objects of one image, and the parts that belong to them.

    Attributes:
        objects: the objects that were looked at, with ids 1, 2, ...
        parts: highest score first, with ids 1, 2, ...
    """

    objects: tuple[ObjectMask, ...]
    parts: tuple[PartMask, ...]


class ObjectParts:
    """Search for the parts of each object.

    Args:
        source: finds the objects.
        evidence: of the part model.
        options: see :class:`ObjectOptions`.
    """

    def __init__(
        self, source: ObjectSource, evidence: PartEvidence, options: ObjectOptions
    ) -> None:
        self.source, self.options = source, options
        self._evidence = evidence

    def answers(self, query: PartQuery) -> bool:
        """Return True if a query is about objects whose names are known; others are looked for everywhere."""
        return bool(self._evidence.names_of(query))

    def find(
        self,
        image: RgbImage,
        queries: EncodedQueries,
        options: SegmentOptions,
        objects: Sequence[ObjectMask] | None = None,
        elsewhere: Sequence[PartMask] = (),
    ) -> ObjectsAndParts:
        """Find objects, then the parts of each; choose among them, and among those of no object.

        Args:
            image: RGB uint8 [H, W, 3].
            queries: encoded queries; those without a known object are answered with ``elsewhere``.
            options: thresholds.
            objects: objects that the caller knows; None looks for them.
            elsewhere: parts of the whole image, for the queries that this class does not answer.

        Raises:
            UsageError: see :func:`~ovps_core.pipeline.objects.check_objects`.
        """
        if objects is not None:
            check_objects(objects, *image.shape[:2])
        asked = self._asked(queries.queries)
        found: tuple[ObjectMask, ...] = ()
        parts: list[PartMask] = []
        if asked:
            if objects is None:
                found = self.source.find(image, tuple(asked))[: self.options.max_objects]
            else:
                asked = self._with_synonyms(asked)
                found = self._known(objects, tuple(asked))
            parts = self._candidates(image, found, asked, options)
            parts = without_duplicates(parts, {one.id: one for one in found})
            parts = [part for one in found for part in _limited(parts, one.id)]
        parts = _beside_each_other([*parts, *elsewhere])
        chosen = self._choose(parts, found, queries.queries, asked)
        return ObjectsAndParts(found, best_parts(chosen, options.max_parts))

    def _asked(self, queries: Sequence[PartQuery]) -> dict[str, list[PartQuery]]:
        """Queries by the name of the object that they are about."""
        asked: dict[str, list[PartQuery]] = {}
        for query in queries:
            for name in self._evidence.names_of(query):
                asked.setdefault(name, []).append(query)
        return asked

    def _with_synonyms(self, asked: dict[str, list[PartQuery]]) -> dict[str, list[PartQuery]]:
        """Queries by the name of the object, where "cup" and "mug" are names of the same objects."""
        canonical = {name: self._evidence.canonical(name) for name in asked}
        return {
            name: [
                query
                for other in asked
                if canonical[other] == canonical[name]
                for query in asked[other]
            ]
            for name in asked
        }

    def _known(self, given: Sequence[ObjectMask], names: Sequence[str]) -> tuple[ObjectMask, ...]:
        """Those of the given objects that have one of these names or a synonym of it, under that name."""
        by_canonical = {self._evidence.canonical(name): name for name in reversed(names)}
        named: list[ObjectMask] = []
        for found in given:
            same = by_canonical.get(self._evidence.canonical(found.name))
            if same is not None:
                plain = found.name.strip().lower()
                named.append(replace(found, name=plain if plain in names else same))
        return tuple(sorted(named, key=lambda found: -found.score)[: self.options.max_objects])

    def _candidates(
        self,
        image: RgbImage,
        objects: Sequence[ObjectMask],
        asked: dict[str, list[PartQuery]],
        options: SegmentOptions,
    ) -> list[PartMask]:
        """All parts of all objects that reach the threshold, highest score first, with different ids."""
        height, width = image.shape[:2]
        encoded, window = None, Box(0, 0, width, height)
        found: list[PartMask] = []
        for one in objects:
            if self.options.crops:
                window = crop_around(
                    one.box, height, width, self._evidence.aspect, self.options.padding
                )
                encoded = self._evidence.encode(np.ascontiguousarray(image[window.slices]))
            elif encoded is None:
                encoded = self._evidence.encode(image)
            assert encoded is not None
            region = _Region(one, window, region_of(one, objects, window))
            found += self._parts_of(region, encoded, asked[one.name], options)
        found.sort(key=lambda part: -part.score)
        return [replace(part, id=i) for i, part in enumerate(found)]

    def _parts_of(
        self,
        region: _Region,
        encoded: EncodedImage,
        queries: Sequence[PartQuery],
        options: SegmentOptions,
    ) -> list[PartMask]:
        """All parts of one object that reach the threshold."""
        wanted = dict.fromkeys(part for query in queries for part in self._evidence.parts_of(query))
        maps = self._evidence.maps(encoded, region.found.name, tuple(wanted))
        found: list[PartMask] = []
        for query in queries:
            shown = [maps[part] for part in self._evidence.parts_of(query) if part in maps]
            if not shown:
                continue
            logits = np.maximum.reduce(shown)
            min_score = query.threshold or options.score_threshold
            found += [
                PartMask(
                    id=0,
                    query=query,
                    score=one.score,
                    box=one.box.moved(region.window.x_offset, region.window.y_offset),
                    mask=one.mask,
                    object_id=region.found.id,
                )
                for one in cut_components(logits, region.inside, options, min_score)
            ]
        return found

    @staticmethod
    def _choose(
        parts: Sequence[PartMask],
        objects: Sequence[ObjectMask],
        queries: Sequence[PartQuery],
        asked: dict[str, list[PartQuery]],
    ) -> list[PartMask]:
        """Parts of the objects that a query chooses, or the part that it chooses if it names no object."""
        chosen: list[PartMask] = []
        for query in queries:
            own = [part for part in parts if part.query == query]
            if not query.object:
                chosen += choose(own, query.which)
                continue
            meant = choose([one for one in objects if query in asked[one.name]], query.which)
            ids = {one.id for one in meant}
            chosen += [part for part in own if part.object_id in ids]
        return chosen


def _limited(parts: Sequence[PartMask], object_id: int) -> list[PartMask]:
    """Parts of one object, at most ``max_parts`` per query; ``parts`` are sorted by score.

    The margin of each is that to the best part that was left out.
    """
    by_query: dict[PartQuery, list[PartMask]] = {}
    for part in parts:
        if part.object_id == object_id:
            by_query.setdefault(part.query, []).append(part)
    kept: list[PartMask] = []
    for query, found in by_query.items():
        limit = 1 if query.which == "each" else query.max_parts or len(found)
        next_best = found[limit].score if len(found) > limit else 0.0
        kept += [replace(part, margin=part.score - next_best) for part in found[:limit]]
    return kept


def _beside_each_other(parts: Sequence[PartMask]) -> list[PartMask]:
    """Parts with margins that count the other parts of the image too, whatever object they belong to."""
    margins = (part.margin for part in with_margins(parts, {}))
    return [
        replace(part, margin=min(part.margin, margin))
        for part, margin in zip(parts, margins, strict=True)
    ]


@dataclass(frozen=True)
class _Region:
    """Where the parts of one object may be: pixels bool [window.height, window.width] of a window of the image."""

    found: ObjectMask
    window: Box
    inside: np.ndarray
