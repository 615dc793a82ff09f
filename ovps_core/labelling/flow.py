"""Optical flow between frames of a recording: where a mask goes, and how much of it can be followed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ovps_core.structures.image_files import load_image

_Floats = NDArray[np.float32]
_NOWHERE = -1e6  # a place far outside of every picture
_SAME_PLACE = 3.0  # pixels between a place and where the way there and back ends
_OF_THE_WAY = 0.01  # the same, squared, as a share of the squared ways
_SAME_GREY = 25.0  # of 255, between a pixel and its place in the next frame, both 3 x 3 means


@dataclass(frozen=True)
class Way:
    """The way of each pixel between two frames of one size, over one step or over many.

    Attributes:
        there: float32 [H, W, 2], for each pixel of the first frame its place (x, y) in the second, pixels. It is
            far outside of the picture where it is unknown.
        back: the same for each pixel of the second frame.
    """

    there: _Floats
    back: _Floats

    def then(self, step: Way) -> Way:
        """This way and a further step, which begins at its second frame."""
        return Way(_sample(step.there, self.there), _sample(self.back, step.back))

    def reverse(self) -> Way:
        """The way from the second frame to the first."""
        return Way(self.back, self.there)

    def carry(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The mask bool [H, W] of the first frame in the second."""
        return _sample(mask.astype(np.float32), self.back) >= 0.5

    def share(self, mask: NDArray[np.bool_]) -> float:
        """Share of a mask's pixels whose way there and back ends where it began, 0..1.

        This is the test of Sundaram et al. (ECCV 2010), over the whole way, so that small steps add up. The other
        pixels are hidden in the second frame, outside of it, or could not be followed.

        Args:
            mask: bool [H, W] in the first frame, not empty.
        """
        start, there = _grid(*mask.shape)[mask], self.there[mask]
        home = _sample(self.back, self.there)[mask]
        ways = _squared(there - start) + _squared(home - there)
        return float(np.mean(_squared(home - start) < _SAME_PLACE**2 + _OF_THE_WAY * ways))

    def seen(self) -> NDArray[np.bool_]:
        """Pixels of the second frame whose place is known and within the first one, bool [H, W]."""
        height, width = self.back.shape[:2]
        x, y = self.back[..., 0], self.back[..., 1]
        return np.asarray((x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1))


def way_between(first: Path, second: Path) -> Way:
    """Find the way between two pictures of one size by dense inverse search (Kroeger et al., ECCV 2016).

    A pixel whose grey changes much has no place in the second: something else is there.

    Raises:
        ImageError: a picture cannot be read.
    """
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(0)  # coarser ones lose thin parts
    one, other = (cv2.cvtColor(load_image(path), cv2.COLOR_RGB2GRAY) for path in (first, second))
    grid = _grid(*one.shape)
    there = np.asarray(grid + search.calc(one, other, None), np.float32)
    back = np.asarray(grid + search.calc(other, one, None), np.float32)
    before, after = (cv2.blur(grey.astype(np.float32), (3, 3)) for grey in (one, other))
    there[np.abs(before - _sample(np.asarray(after), there)) > _SAME_GREY] = _NOWHERE
    return Way(there, back)


def _grid(height: int, width: int) -> _Floats:
    rows, columns = np.mgrid[:height, :width]
    return np.dstack([columns, rows]).astype(np.float32)


def _sample(values: _Floats, places: _Floats) -> _Floats:
    """Values at places; outside of the picture a mask has none, and a way leads nowhere."""
    sampled = cv2.remap(
        values,
        places,
        np.empty(0, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_NOWHERE if values.ndim == 3 else 0.0,
    )
    return np.asarray(sampled, np.float32)


def _squared(vectors: _Floats) -> _Floats:
    return np.sum(vectors**2, axis=-1, dtype=np.float32)
