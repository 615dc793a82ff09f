"""Interface of data sets of objects: photographs with named boxes and masks, for training and evaluation."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovps_core.language.object_names import ObjectNames


@dataclass(frozen=True)
class LabelledObjects:
    """A photograph with its objects.

    Attributes:
        image: RGB uint8 [H, W, 3].
        labels: int64 [N], positions in :attr:`ObjectDataset.names`.
        boxes: float32 [N, 4], (x1, y1, x2, y2) in pixels.
        masks: bool [N, H, W]; None if the data set has boxes only.
        areas: float64 [N], pixels, by which objects count as small or large.
        crowds: bool [N], regions of many objects, in which no answer is wrong.
        pseudo: bool [N], objects whose mask a model made from the box, so that the box is the better truth.
        checked: labels that annotators looked for in this image, the others are not scored in it; None for all.
        incomplete: labels of which some objects are not annotated: further answers are not wrong.
    """

    image: NDArray[np.uint8] = field(repr=False)
    labels: NDArray[np.int64]
    boxes: NDArray[np.float32]
    masks: NDArray[np.bool_] | None = field(repr=False)
    areas: NDArray[np.float64]
    crowds: NDArray[np.bool_]
    pseudo: NDArray[np.bool_]
    checked: frozenset[int] | None = None
    incomplete: frozenset[int] = frozenset()


class ObjectDataset(ABC):
    """Photographs with objects, read on demand.

    Attributes:
        max_detections: answers that the benchmark's average precision counts, per image and name (COCO) or per
            image (LVIS).
        source: file or folder of the annotations.
        things, stuff: names of the categories as the data set writes them. Average precision scores things alone;
            names of stuff are asked with them.
        has_masks: every object has a mask.
        has_regions: what no object covers is labelled too, as panoptic and semantic scores need.
        pseudo_labels: number of annotations that a model made.
    """

    max_detections: int = 100
    source: Path
    things: tuple[str, ...]
    stuff: tuple[str, ...]
    has_masks: bool
    has_regions: bool = False
    pseudo_labels: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Things, then stuff."""
        return self.things + self.stuff

    @functools.cached_property
    def queries(self) -> ObjectNames:
        """The names as words to ask a model for, in the order of :attr:`names`."""
        words = plain_words(self.names)
        count = len(self.things)
        return ObjectNames(words[:count], words[count:])

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def read(self, index: int) -> LabelledObjects:
        """Read an image and its objects.

        Raises:
            DatasetError: an annotation is malformed.
            ImageError: a picture is missing or damaged.
        """


def plain_words(names: Sequence[str]) -> tuple[str, ...]:
    """Class names of data sets as plain words, one for each, none twice.

    Data sets write synonyms ("building, edifice", "Cup/Mug") and underscores. The first synonym that is not taken
    is used, so that no two classes share a word.

    >>> plain_words(["screen, CRT screen", "screen, silver screen", "alarm_clock", "Desk/Table"])
    ('screen', 'silver screen', 'alarm clock', 'Desk')
    """
    taken: dict[str, None] = {}
    for name in names:
        synonyms = [" ".join(each.replace("_", " ").split()) for each in _synonyms(name)]
        word = next((each for each in synonyms if each not in taken), None)
        taken[word or _unused(name, taken)] = None
    return tuple(taken)


def _synonyms(name: str) -> list[str]:
    return [each for each in name.replace("/", ",").split(",") if each.strip()]


def _unused(name: str, taken: Iterable[str]) -> str:
    """The whole name; numbered if another class has it too."""
    number, word = 2, name
    while word in taken:
        word, number = f"{name} {number}", number + 1
    return word
