"""Optical flow between frames of a recording, forwards and backwards, and masks that follow it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ovps_core.structures.image_files import load_image

Floats = NDArray[np.float32]
OUTSIDE = -1e6  # a coordinate far outside of every picture
_MAX_ERROR = 3.0  # pixels between a pixel and its position after the flow forwards and backwards
_MAX_ERROR_SHARE = 0.01  # of the squared flow, which the squared error may reach beside that
# Of 255, between a pixel and its position in the next frame, both 3 x 3 means.
MAX_GREY_CHANGE = 25.0


@dataclass(frozen=True)
class Flow:
    """Optical flow between two frames of one size, over one step or over many.

    Attributes:
        forward: float32 [H, W, 2], for each pixel of the first frame its position (x, y) in the second, pixels.
            It is far outside of the picture where it is unknown.
        backward: the same for each pixel of the second frame.
        seen: pixels of the first frame, bool [H, W], whose point is known to be seen in the second; None for none.
    """

    forward: Floats
    backward: Floats
    seen: NDArray[np.bool_] | None = None

    def compose(self, step: Flow) -> Flow:
        """This flow and that of a further step, which begins at its second frame."""
        return Flow(sample(step.forward, self.forward), sample(self.backward, step.backward))

    def reverse(self) -> Flow:
        """The flow from the second frame to the first."""
        return Flow(self.backward, self.forward)

    def warp(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask bool [H, W] of the first frame, in the second."""
        return sample(mask.astype(np.float32), self.backward) >= 0.5

    def consistent_share(self, mask: NDArray[np.bool_]) -> float:
        """Share of a mask's pixels that the flow forwards and backwards brings back to where they were, 0..1.

        This is the test of Sundaram et al. (ECCV 2010), over all steps together, so that small errors add up. The
        other pixels are hidden in the second frame, outside of it, or could not be followed. Those of ``seen``
        need no test.

        Args:
            mask: bool [H, W] in the first frame, not empty.
        """
        start, moved = _grid(*mask.shape)[mask], self.forward[mask]
        returned = sample(self.backward, self.forward)[mask]
        lengths = _squared(moved - start) + _squared(returned - moved)
        allowed = _MAX_ERROR**2 + _MAX_ERROR_SHARE * lengths
        followed = _squared(returned - start) < allowed
        return float(np.mean(followed if self.seen is None else followed | self.seen[mask]))

    def visible(self) -> NDArray[np.bool_]:
        """Pixels of the second frame whose position is known and within the first one, bool [H, W]."""
        height, width = self.backward.shape[:2]
        x, y = self.backward[..., 0], self.backward[..., 1]
        return np.asarray((x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1))


@dataclass(frozen=True)
class _Search:
    """Result of a search in two pictures, from which the flow of either direction follows.

    Attributes:
        forward, backward: as those of :class:`Flow`, known everywhere.
        changed, changed_back: pixels of the first and the second picture whose grey changes much, bool [H, W].
    """

    forward: Floats
    backward: Floats
    changed: NDArray[np.bool_]
    changed_back: NDArray[np.bool_]

    def flow(self) -> Flow:
        """The flow from the first picture; a pixel that changes much has no position: something else is there."""
        forward = self.forward.copy()
        forward[self.changed] = OUTSIDE
        return Flow(forward, self.backward)

    def reverse(self) -> _Search:
        """The same for the second picture and the first."""
        return _Search(self.backward, self.forward, self.changed_back, self.changed)

    @property
    def size(self) -> int:
        """Bytes in memory."""
        arrays = (self.forward, self.backward, self.changed, self.changed_back)
        return sum(array.nbytes for array in arrays)


class Flows:
    """Flow between pictures of one size; each pair is searched once for both directions, as far as memory allows.

    Args:
        max_bytes: memory for pairs that were searched; further ones are searched whenever they are asked for.
    """

    def __init__(self, max_bytes: int = 2**29) -> None:
        self._left = max_bytes
        self._kept: dict[tuple[Path, Path], _Search] = {}

    def between(self, first: Path, second: Path, *, for_good: bool = False) -> Flow:
        """Flow by dense inverse search (Kroeger et al., ECCV 2016).

        A pixel whose grey changes much has no position in the second: something else is there.

        Args:
            first, second: the pictures.
            for_good: the pair is not asked for again, so nothing of it is kept.

        Raises:
            ImageError: a picture cannot be read.
        """
        found = self._kept.pop((first, second), None)
        if found is None and (second, first) in self._kept:
            found = self._kept.pop((second, first)).reverse()
        if found is not None:
            self._left += found.size
        else:
            found = _search(first, second)
        if not for_good and found.size <= self._left:
            self._left -= found.size
            self._kept[first, second] = found
        return found.flow()


def _search(first: Path, second: Path) -> _Search:
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(0)  # coarser ones lose thin parts
    one, other = load_grey(first), load_grey(second)
    grid = _grid(*one.shape)
    forward = np.asarray(grid + search.calc(one, other, None), np.float32)
    backward = np.asarray(grid + search.calc(other, one, None), np.float32)
    before, after = smooth_grey(one), smooth_grey(other)
    changed = np.abs(before - sample(after, forward)) > MAX_GREY_CHANGE
    changed_back = np.abs(after - sample(before, backward)) > MAX_GREY_CHANGE
    return _Search(forward, backward, changed, changed_back)


def load_grey(path: Path) -> NDArray[np.uint8]:
    """Grey picture, uint8 [H, W].

    Raises:
        ImageError: the picture cannot be read.
    """
    return np.asarray(cv2.cvtColor(load_image(path), cv2.COLOR_RGB2GRAY), np.uint8)


def smooth_grey(grey: NDArray[np.uint8]) -> Floats:
    """Means of 3 x 3 pixels of a grey picture [H, W], float32 [H, W], 0..255."""
    return np.asarray(cv2.blur(grey.astype(np.float32), (3, 3)), np.float32)


def _grid(height: int, width: int) -> Floats:
    rows, columns = np.mgrid[:height, :width]
    return np.dstack([columns, rows]).astype(np.float32)


def sample(values: Floats, positions: Floats) -> Floats:
    """Values at positions; beyond the picture a mask is 0, and a flow leads outside."""
    sampled = cv2.remap(
        values,
        positions,
        np.empty(0, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=OUTSIDE if values.ndim == 3 else 0.0,
    )
    return np.asarray(sampled, np.float32)


def _squared(vectors: Floats) -> Floats:
    return np.sum(vectors**2, axis=-1, dtype=np.float32)
