"""What every benchmark reader gives: items of an evaluation, images to train on, and their label maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.label_files import find_root
from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import IGNORE, Vocabulary, load_vocabulary


@dataclass(frozen=True)
class LabelledImage:
    """An image and what each of its pixels shows.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        objects: int32 [H, W], position in ``vocabulary.objects_with_parts``, :data:`IGNORE` elsewhere.
        parts: int32 [H, W], position in ``vocabulary.object_parts``, :data:`IGNORE` elsewhere.
    """

    image: NDArray[np.uint8] = field(repr=False)
    objects: NDArray[np.int32] = field(repr=False)
    parts: NDArray[np.int32] = field(repr=False)

    @property
    def object_rows(self) -> tuple[int, ...]:
        """The objects that are in the image, positions in ``vocabulary.objects_with_parts``."""
        return tuple(int(row) for row in np.unique(self.objects) if row != IGNORE)

    @property
    def has_parts(self) -> bool:
        """Whether any pixel has a part label; an item without one measures nothing."""
        return bool((self.parts != IGNORE).any())


@dataclass(frozen=True)
class BenchmarkItem:
    """One record of a benchmark, read from disk when it is needed.

    Attributes:
        name: unique in the benchmark, for reports.
        image_path: the photograph; neighbouring items often share it.
        read: loads image and label maps; raises :class:`DatasetError` for a damaged file.
    """

    name: str
    image_path: Path
    read: Callable[[], LabelledImage] = field(repr=False)


class BenchmarkReader(ABC):
    """A benchmark on disk.

    Args:
        root: the folder that holds the data set's folder; None takes $DETECTRON2_DATASETS, else ./datasets.

    Attributes:
        vocabulary: names and indices of evaluation items; those of training items index
            ``vocabulary.seen()``.
        resized_labels: whether the released code takes labels through another size on the way, see
            :mod:`ovps_core.evaluation.released`.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    layout: ClassVar[str]
    resized_labels: ClassVar[bool] = True

    def __init__(self, root: str | Path | None = None) -> None:
        self.base = find_root(root) / self.folder
        self.vocabulary: Vocabulary = load_vocabulary(self.name)

    @abstractmethod
    def evaluation_items(self) -> Sequence[BenchmarkItem]:
        """Every item that the benchmark's protocol counts, neighbours sharing an image.

        Raises:
            DatasetError: the data set is missing or half unpacked.
        """

    @abstractmethod
    def training_items(self) -> Sequence[BenchmarkItem]:
        """Whole images, unseen objects and their parts erased to :data:`IGNORE`.

        Raises:
            DatasetError: the data set is missing or half unpacked.
        """

    def object_table(self, target: Vocabulary) -> NDArray[np.int32]:
        """int32 [len(objects)]: the data set's object index -> position in ``target.objects_with_parts``."""
        rows = {name: row for row, name in enumerate(target.objects_with_parts)}
        return np.array(
            [rows.get(name, IGNORE) for name in self.vocabulary.objects], dtype=np.int32
        )

    def part_table(self, target: Vocabulary) -> NDArray[np.int32]:
        """int32 [T]: the data set's object-part index -> position in ``target.object_parts``."""
        rows = {pair: row for row, pair in enumerate(target.object_parts)}
        return np.array(
            [rows.get(pair, IGNORE) for pair in self.vocabulary.object_parts], dtype=np.int32
        )


def same_size(image: NDArray[np.uint8], labels: NDArray[np.int32], path: Path) -> None:
    """Check that a label map belongs to its image.

    Raises:
        DatasetError: their sizes differ.
    """
    if labels.shape != image.shape[:2]:
        raise DatasetError(
            f"{path} is {labels.shape[0]}x{labels.shape[1]}, its image {image.shape[0]}x{image.shape[1]} "
            "(height x width); a label map has the size of its image."
        )
