"""Copy-paste augmentation: objects of another picture on a picture (Ghiasi et al., CVPR 2021, without blending).

Labels follow the pasted pixels. What they hide loses its labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ovps_core.datasets.benchmark_reader import LabelledImage
from ovps_core.datasets.labelled_objects import LabelledObjects
from ovps_core.language.vocabulary import IGNORE

_SCALES = 0.8, 1.25  # relative to the donor that just fits into the picture
_SHIFT = 0.2  # of the picture's sides

S = TypeVar("S")


class CopyPaste(Generic[S]):
    """Paste of objects onto a share of the pictures; PyTorch's generator draws.

    Args:
        probability: that objects are pasted onto a picture; at 0 nothing is drawn.
        paste: makes a picture from one and from the donor, whose objects it gets.
    """

    def __init__(self, probability: float, paste: Callable[[S, S], S]) -> None:
        self.probability, self.paste = probability, paste
        self._previous: S | None = None

    def __call__(self, sample: S, read_donor: Callable[[], S]) -> S:
        """The picture, with objects of the donor or as it is."""
        if self.probability and torch.rand(()) < self.probability:
            return self.paste(sample, read_donor())
        return sample

    def streamed(self, sample: S) -> S:
        """The picture, with objects of the one before it: packed pictures come in an order, and it is shuffled."""
        donor = self._previous
        self._previous = sample if self.probability else None
        return sample if donor is None else self(sample, lambda: donor)


def paste_parts(sample: LabelledImage, donor: LabelledImage) -> LabelledImage:
    """Paste a random choice of a donor's objects, all instances of each, with their parts."""
    rows = donor.object_rows
    if not rows:
        return sample
    place = Placement.random(donor.image, sample.image)
    chosen = np.isin(donor.objects, _some(rows))
    objects = place(np.where(chosen, donor.objects, IGNORE).astype(np.int32), IGNORE)
    pasted = objects != IGNORE
    return LabelledImage(
        np.where(pasted[..., None], place(donor.image), sample.image),
        np.where(pasted, objects, sample.objects),
        np.where(pasted, place(donor.parts, IGNORE), sample.parts),
    )


def paste_things(sample: LabelledObjects, donor: LabelledObjects, things: int) -> LabelledObjects:
    """Paste a random choice of a donor's objects; those of pictures without masks are left alone.

    Objects that are hidden keep an empty mask, and boxes are those before: a crop then drops and tightens them.

    Args:
        sample: the picture.
        donor: another one of the same data set.
        things: number of names that are no stuff, which is not pasted.
    """
    rows = np.flatnonzero((donor.labels < things) & ~donor.crowds)
    if sample.masks is None or donor.masks is None or not len(rows):
        return sample
    place, chosen = Placement.random(donor.image, sample.image), _some(rows.tolist())
    masks = np.stack([place(donor.masks[row].astype(np.uint8), 0) > 0 for row in chosen])
    pasted: NDArray[np.bool_] = np.any(masks, axis=0)
    return replace(
        sample,
        image=np.where(pasted[..., None], place(donor.image), sample.image),
        labels=np.concatenate([sample.labels, donor.labels[chosen]]),
        boxes=np.concatenate([sample.boxes, place.boxes(donor.boxes[chosen])]),
        masks=np.concatenate([sample.masks & ~pasted, masks]),
        areas=np.concatenate([sample.areas, donor.areas[chosen]]),
        crowds=np.concatenate([sample.crowds, donor.crowds[chosen]]),
        pseudo=np.concatenate([sample.pseudo, donor.pseudo[chosen]]),
    )


@dataclass(frozen=True)
class Placement:
    """Where a donor lies on a picture.

    Attributes:
        original, scaled: (height, width) of the donor before and after scaling, pixels.
        size: (height, width) of the picture.
        top, left: row and column of the picture where the donor begins; it may hang over the edges.
    """

    original: tuple[int, int]
    scaled: tuple[int, int]
    size: tuple[int, int]
    top: int
    left: int

    @classmethod
    def random(cls, donor: NDArray[np.uint8], picture: NDArray[np.uint8]) -> Placement:
        """A random place near the middle of a picture [H, W, 3] for a donor [h, w, 3]."""
        original, size = donor.shape[:2], picture.shape[:2]
        fit = min(size[0] / original[0], size[1] / original[1])
        scale = fit * float(torch.empty(()).uniform_(*_SCALES))
        height, width = (max(1, round(side * scale)) for side in original)
        down, right = torch.empty(2).uniform_(-_SHIFT, _SHIFT).tolist()
        top, left = (size[0] - height) / 2 + down * size[0], (size[1] - width) / 2 + right * size[1]
        return cls(original, (height, width), size, round(top), round(left))

    def __call__(self, array: NDArray[Any], empty: int | None = None) -> NDArray[Any]:
        """The donor's colours [h, w, 3] or labels [h, w] where they lie on the picture, [H, W, ...].

        Args:
            array: the colours; or labels, with ``empty``.
            empty: label where the donor is not.
        """
        shrinks = self.scaled[0] < self.original[0]
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        if empty is not None:
            interpolation = cv2.INTER_NEAREST_EXACT
        scaled = cv2.resize(array, self.scaled[::-1], interpolation=interpolation)
        placed = np.full((*self.size, *array.shape[2:]), empty or 0, array.dtype)
        (first, last), (start, end) = (
            (max(0, offset), min(side, offset + length))
            for offset, side, length in zip(
                (self.top, self.left), self.size, self.scaled, strict=True
            )
        )
        placed[first:last, start:end] = scaled[
            first - self.top : last - self.top, start - self.left : end - self.left
        ]
        return placed

    def boxes(self, corners: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (x1, y1, x2, y2) [N, 4] of the donor on the picture, cut at its edges."""
        down, right = (s / o for s, o in zip(self.scaled, self.original, strict=True))
        moved = corners * [right, down, right, down] + [self.left, self.top] * 2
        return moved.clip(0, [self.size[1], self.size[0]] * 2).astype(np.float32)


def _some(rows: Sequence[int]) -> list[int]:
    """Each row with probability 1/2, or one of them."""
    drawn = [row for row in rows if torch.rand(()) < 0.5]
    return drawn or [rows[int(torch.randint(len(rows), ()))]]
