"""Optical flow between frames of a recording, forwards and backwards, and masks that follow it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ovps_core.structures.image_files import load_image

_Floats = NDArray[np.float32]
_OUTSIDE = -1e6  # a coordinate far outside of every picture
_MAX_ERROR = 3.0  # pixels between a pixel and its position after the flow forwards and backwards
_MAX_ERROR_SHARE = 0.01  # of the squared flow, which the squared error may reach beside that
# Of 255, between a pixel and its position in the next frame, both 3 x 3 means.
_MAX_GREY_CHANGE = 25.0


@dataclass(frozen=True)
class Flow:
    """Optical flow between two frames of one size, over one step or over many.

    Attributes:
        forward: float32 [H, W, 2], for each pixel of the first frame its position (x, y) in the second, pixels.
            It is far outside of the picture where it is unknown.
        backward: the same for each pixel of the second frame.
    """

    forward: _Floats
    backward: _Floats

    def compose(self, step: Flow) -> Flow:
        """This flow and that of a further step, which begins at its second frame."""
        return Flow(_sample(step.forward, self.forward), _sample(self.backward, step.backward))

    def reverse(self) -> Flow:
        """The flow from the second frame to the first."""
        return Flow(self.backward, self.forward)

    def warp(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask bool [H, W] of the first frame, in the second."""
        return _sample(mask.astype(np.float32), self.backward) >= 0.5

    def consistent_share(self, mask: NDArray[np.bool_]) -> float:
        """Share of a mask's pixels that the flow forwards and backwards brings back to where they were, 0..1.

        This is the test of Sundaram et al. (ECCV 2010), over all steps together, so that small errors add up. The
        other pixels are hidden in the second frame, outside of it, or could not be followed.

        Args:
            mask: bool [H, W] in the first frame, not empty.
        """
        start, moved = _grid(*mask.shape)[mask], self.forward[mask]
        returned = _sample(self.backward, self.forward)[mask]
        lengths = _squared(moved - start) + _squared(returned - moved)
        allowed = _MAX_ERROR**2 + _MAX_ERROR_SHARE * lengths
        return float(np.mean(_squared(returned - start) < allowed))

    def visible(self) -> NDArray[np.bool_]:
        """Pixels of the second frame whose position is known and within the first one, bool [H, W]."""
        height, width = self.backward.shape[:2]
        x, y = self.backward[..., 0], self.backward[..., 1]
        return np.asarray((x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1))


def flow_between(first: Path, second: Path) -> Flow:
    """Compute the flow between two pictures of one size by dense inverse search (Kroeger et al., ECCV 2016).

    A pixel whose grey changes much has no position in the second: something else is there.

    Raises:
        ImageError: a picture cannot be read.
    """
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(0)  # coarser ones lose thin parts
    one, other = (cv2.cvtColor(load_image(path), cv2.COLOR_RGB2GRAY) for path in (first, second))
    grid = _grid(*one.shape)
    forward = np.asarray(grid + search.calc(one, other, None), np.float32)
    backward = np.asarray(grid + search.calc(other, one, None), np.float32)
    before, after = (cv2.blur(grey.astype(np.float32), (3, 3)) for grey in (one, other))
    change = np.abs(before - _sample(np.asarray(after), forward))
    forward[change > _MAX_GREY_CHANGE] = _OUTSIDE
    return Flow(forward, backward)


def _grid(height: int, width: int) -> _Floats:
    rows, columns = np.mgrid[:height, :width]
    return np.dstack([columns, rows]).astype(np.float32)


def _sample(values: _Floats, positions: _Floats) -> _Floats:
    """Values at positions; beyond the picture a mask is 0, and a flow leads outside."""
    sampled = cv2.remap(
        values,
        positions,
        np.empty(0, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_OUTSIDE if values.ndim == 3 else 0.0,
    )
    return np.asarray(sampled, np.float32)


def _squared(vectors: _Floats) -> _Floats:
    return np.sum(vectors**2, axis=-1, dtype=np.float32)
