"""Axis-aligned boxes in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import UsageError


@dataclass(frozen=True)
class Box:
    """Axis-aligned box of whole pixels in the full image, as ``sensor_msgs/RegionOfInterest`` defines it.

    Attributes:
        x_offset: leftmost column, pixels.
        y_offset: topmost row, pixels.
        width: columns, pixels.
        height: rows, pixels.
    """

    x_offset: int
    y_offset: int
    width: int
    height: int

    @classmethod
    def of_mask(cls, mask: NDArray[np.bool_]) -> Box:
        """Tight box around a mask bool [H, W] that has at least one pixel."""
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        left, top = int(columns[0]), int(rows[0])
        return cls(left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1)

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """(x1, y1, x2, y2), where x2 and y2 are behind the last pixel."""
        right, bottom = self.x_offset + self.width, self.y_offset + self.height
        return self.x_offset, self.y_offset, right, bottom

    @property
    def xywh(self) -> tuple[int, int, int, int]:
        """(x_offset, y_offset, width, height), as COCO files have it."""
        return self.x_offset, self.y_offset, self.width, self.height

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices: ``image[box.slices]`` is the crop."""
        return (
            slice(self.y_offset, self.y_offset + self.height),
            slice(self.x_offset, self.x_offset + self.width),
        )

    def moved(self, x: int, y: int) -> Box:
        """The same box, moved by x and y pixels."""
        return Box(self.x_offset + x, self.y_offset + y, self.width, self.height)

    def centre_shift(self, other: Box) -> tuple[float, float]:
        """(x, y) from this box's centre to that of another box, pixels."""
        x = other.x_offset - self.x_offset + (other.width - self.width) / 2
        y = other.y_offset - self.y_offset + (other.height - self.height) / 2
        return x, y

    def relative_to(self, frame: Box) -> Box:
        """The same box in the coordinates of the crop that ``frame`` cuts."""
        return self.moved(-frame.x_offset, -frame.y_offset)

    def intersection(self, other: Box) -> Box | None:
        """Overlap with another box; None if there is none."""
        left = max(self.x_offset, other.x_offset)
        top = max(self.y_offset, other.y_offset)
        right = min(self.x_offset + self.width, other.x_offset + other.width)
        bottom = min(self.y_offset + self.height, other.y_offset + other.height)
        if right <= left or bottom <= top:
            return None
        return Box(left, top, right - left, bottom - top)


@dataclass(frozen=True)
class ObjectBox:
    """One object instance that was found by its box alone.

    Attributes:
        name: object name, as queried.
        score: confidence, 0..1.
        corners: (x1, y1, x2, y2) in pixels of the image; they may reach beyond it.
    """

    name: str
    score: float
    corners: tuple[float, float, float, float]


def check_corners(
    box: Sequence[float], name: str, height: int, width: int
) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2) of a box that a caller gives for an image of ``height`` x ``width`` pixels, as it is.

    Raises:
        UsageError: it is not four finite numbers, or has no area in the image.
    """
    values = tuple(map(float, box))
    is_box = len(values) == 4 and all(map(math.isfinite, values))
    if not is_box or side_in_image(values, height, width) <= 0:
        raise no_area(values, name, height, width)
    x1, y1, x2, y2 = values
    return x1, y1, x2, y2


def side_in_image(box: Sequence[float], height: int, width: int) -> float:
    """The shorter side of what an image shows of a box (x1, y1, x2, y2), pixels; 0 or less if it shows nothing."""
    x1, y1, x2, y2 = box
    return min(min(x2, width) - max(x1, 0.0), min(y2, height) - max(y1, 0.0))


def no_area(box: Sequence[float], name: str, height: int, width: int) -> UsageError:
    """The error for a box that is not in an image."""
    return UsageError(
        f"the box {tuple(box)} of {name!r} has no area in an image of {width}x{height}; expected "
        "(x1, y1, x2, y2) in pixels"
    )
