"""What a segmenter answers: part masks cut to their boxes, as plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ovps_core.structures.query import PartQuery


@dataclass(frozen=True)
class Box:
    """A tight pixel box in the full image, as ``sensor_msgs/RegionOfInterest`` states it."""

    x_offset: int
    y_offset: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices of the box: ``image[roi.slices]`` is the cut."""
        return (
            slice(self.y_offset, self.y_offset + self.height),
            slice(self.x_offset, self.x_offset + self.width),
        )


@dataclass(frozen=True)
class PartMask:
    """One part in one image.

    Attributes:
        id: 1, 2, ...: the part's value in :meth:`PartMasks.label_image`.
        query: what was asked for.
        score: 0..1, how sure the model is that this is the part.
        roi: tight box in the full image.
        mask: bool [roi.height, roi.width], True on the part.
        track_id: the same part in later frames; 0 without tracking.
    """

    id: int
    query: PartQuery
    score: float
    roi: Box
    mask: NDArray[np.bool_] = field(repr=False)
    track_id: int = 0

    @property
    def area(self) -> int:
        """Pixels on the part."""
        return int(np.count_nonzero(self.mask))

    def full(self, height: int, width: int) -> NDArray[np.bool_]:
        """The mask in the full image, bool [height, width]."""
        canvas = np.zeros((height, width), dtype=bool)
        canvas[self.roi.slices] = self.mask
        return canvas


@dataclass(frozen=True)
class PartMasks:
    """Every part found in one image; ``parts`` may be empty, which is an answer too.

    Attributes:
        height, width: of the full image, pixels.
        queries: all that were asked of this image, in the order asked.
        parts: highest score first.
        model: name and digest of the weights that answered.
    """

    height: int
    width: int
    queries: tuple[PartQuery, ...]
    parts: tuple[PartMask, ...]
    model: str

    def of(self, query: PartQuery | str) -> tuple[PartMask, ...]:
        """The parts found for exactly one query, or for all queries of a text."""
        if isinstance(query, str):
            return tuple(part for part in self.parts if part.query.text == query)
        return tuple(part for part in self.parts if part.query == query)

    def mask_of(self, query: PartQuery | str) -> NDArray[np.bool_]:
        """Union of the parts that :meth:`of` gives, bool [height, width]."""
        canvas = np.zeros((self.height, self.width), dtype=bool)
        for part in self.of(query):
            canvas[part.roi.slices] |= part.mask
        return canvas

    def label_image(self) -> NDArray[np.uint16]:
        """uint16 [height, width]: the part's id per pixel, 0 = none; where parts overlap the higher
        score wins."""
        labels = np.zeros((self.height, self.width), dtype=np.uint16)
        for part in reversed(self.parts):
            labels[part.roi.slices][part.mask] = part.id
        return labels
