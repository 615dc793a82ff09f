"""Sources of object instances: the part model's own maps, or an object model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ovps_core.objects.part_evidence import PartEvidence
from ovps_core.pipeline.objects import crop_around
from ovps_core.pipeline.postprocess.components import SegmentOptions, cut_components, logit
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import ObjectMask

if TYPE_CHECKING:
    from ovps_core.object_segmenter import ObjectSegmenter

OWN = "own"
"""Name of the source that needs no second model."""
_SEEN_AT_ALL = 0.1  # probability from which a pixel belongs to the region that is looked at again
_EXTENT = 0.3  # probability from which a pixel belongs to an object
_MIN_SCORE = 0.4
_MIN_AREA = 64  # pixels
_ZOOM_BELOW = 0.7  # share of the image that the region may fill so that looking again pays
_PADDING = 0.1


class ObjectSource(Protocol):
    """A source of object instances in an image.

    Attributes:
        name: name and digest of its weights; "" if it has none of its own.
    """

    name: str

    def find(self, image: RgbImage, names: Sequence[str]) -> tuple[ObjectMask, ...]:
        """Find the instances of names in an image RGB uint8 [H, W, 3]; ids are 1, 2, ..., highest score first."""

    def refusal_of(self, name: str) -> str:
        """Why the source cannot look for a name; empty if it can."""


class OwnInstances:
    """The part model's own object maps, divided into connected components. Objects that touch stay one.

    The image is looked at twice: whole, and then the region that shows anything asked for, so that small objects
    are not merged by the network's low resolution.

    Args:
        evidence: of the part model.
    """

    name = ""

    def __init__(self, evidence: PartEvidence) -> None:
        self._evidence = evidence

    def refusal_of(self, name: str) -> str:
        """Nothing: the part model has already read the name."""
        return ""

    def find(self, image: RgbImage, names: Sequence[str]) -> tuple[ObjectMask, ...]:
        """See :meth:`ObjectSource.find`."""
        height, width = image.shape[:2]
        window = Box(0, 0, width, height)
        maps = self._extents(image, names)
        if not maps:
            return ()
        region = self._region(list(maps.values()), height, width)
        if region is None:
            return ()
        if region.area < _ZOOM_BELOW * window.area:
            window = region
            maps = self._extents(np.ascontiguousarray(image[region.slices]), names)
        return _instances(maps, window)

    def _extents(self, image: RgbImage, names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        encoded = self._evidence.encode(image)
        maps = ((name, self._evidence.extent(encoded, name)) for name in names)
        return {name: logits for name, logits in maps if logits is not None}

    def _region(self, maps: Sequence[NDArray[np.float32]], height: int, width: int) -> Box | None:
        """Region of the image with all that may show an object; None if nothing does."""
        seen = np.maximum.reduce(list(maps)) > logit(_SEEN_AT_ALL)
        if not seen.any():
            return None
        cells = Box.of_mask(seen)
        y, x = height / seen.shape[0], width / seen.shape[1]
        left, top = int(cells.x_offset * x), int(cells.y_offset * y)
        right = min(width, round((cells.x_offset + cells.width) * x))
        bottom = min(height, round((cells.y_offset + cells.height) * y))
        box = Box(left, top, max(1, right - left), max(1, bottom - top))
        return crop_around(box, height, width, self._evidence.aspect, _PADDING)


def _instances(maps: dict[str, NDArray[np.float32]], window: Box) -> tuple[ObjectMask, ...]:
    """Connected components of maps over a window of the image; the names compete for each cell."""
    options = SegmentOptions(mask_threshold=_EXTENT, min_area=_MIN_AREA)
    best = np.maximum.reduce(list(maps.values()))
    everywhere = np.ones((window.height, window.width), bool)
    found = []
    for name, logits in maps.items():
        own = np.where(logits >= best, logits, np.float32(-20.0)).astype(np.float32)
        for one in cut_components(own, everywhere, options, _MIN_SCORE):
            box = one.box.moved(window.x_offset, window.y_offset)
            found.append(ObjectMask(0, name, one.score, box, one.mask))
    return numbered(found)


class DetectedObjects:
    """Objects that an object model finds by name, such as OpenSeeD.

    Args:
        model: the object model.
        score_threshold: lowest score of an object, 0..1.
    """

    def __init__(self, model: ObjectSegmenter, score_threshold: float = _MIN_SCORE) -> None:
        self._model, self._threshold = model, score_threshold
        self.name = model.name

    @classmethod
    def load(cls, name: str | Path, device: str) -> DetectedObjects:
        """Load an object model; see :meth:`ObjectSegmenter.from_pretrained`."""
        from ovps_core.object_segmenter import ObjectSegmenter  # runs in PyTorch only

        return cls(ObjectSegmenter.from_pretrained(name, device=device))

    def refusal_of(self, name: str) -> str:
        """See :meth:`ObjectSource.refusal_of`."""
        from ovps_core.models.text.literal import refusal_of_name  # needs PyTorch

        return refusal_of_name(name, self._model.text_encoder)

    def find(self, image: RgbImage, names: Sequence[str]) -> tuple[ObjectMask, ...]:
        """See :meth:`ObjectSource.find`."""
        if not names:
            return ()
        return self._model.detect(image, list(names), score_threshold=self._threshold).objects


def numbered(objects: Sequence[ObjectMask]) -> tuple[ObjectMask, ...]:
    """The same objects, highest score first, with the ids 1, 2, ..."""
    ordered = sorted(objects, key=lambda found: -found.score)
    return tuple(replace(found, id=i) for i, found in enumerate(ordered, start=1))
