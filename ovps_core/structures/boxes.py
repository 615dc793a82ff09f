"""Axis-aligned boxes in pixels."""

from __future__ import annotations

from dataclasses import dataclass


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

    def intersection(self, other: Box) -> Box | None:
        """Overlap with another box; None if there is none."""
        left = max(self.x_offset, other.x_offset)
        top = max(self.y_offset, other.y_offset)
        right = min(self.x_offset + self.width, other.x_offset + other.width)
        bottom = min(self.y_offset + self.height, other.y_offset + other.height)
        if right <= left or bottom <= top:
            return None
        return Box(left, top, right - left, bottom - top)
