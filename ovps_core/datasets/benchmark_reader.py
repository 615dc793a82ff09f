"""Interface of a benchmark reader: items to evaluate, images to train on, and their label maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.label_files import benchmark_root
from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import IGNORE, Vocabulary, load_vocabulary


@dataclass(frozen=True)
class LabelledImage:
    """An image with its label maps.

    Both maps may hold UNKNOWN in images to train on.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        objects: int32 [H, W], index into ``vocabulary.objects_with_parts``; IGNORE where unlabelled.
        parts: int32 [H, W], index into ``vocabulary.object_parts``; IGNORE where unlabelled.
    """

    image: NDArray[np.uint8] = field(repr=False)
    objects: NDArray[np.int32] = field(repr=False)
    parts: NDArray[np.int32] = field(repr=False)

    @property
    def object_rows(self) -> tuple[int, ...]:
        """Objects in the image, as indices into ``vocabulary.objects_with_parts``."""
        return tuple(int(row) for row in np.unique(self.objects) if row >= 0)

    @property
    def has_parts(self) -> bool:
        """True if any pixel has a part label; an item without one cannot be scored."""
        return bool((self.parts >= 0).any())


@dataclass(frozen=True)
class BenchmarkItem:
    """One item of a benchmark, read from disk on demand.

    Attributes:
        name: unique within the benchmark.
        image_path: the photograph; consecutive items may share it.
        read: loads image and label maps; raises ImageError for a damaged file.
    """

    name: str
    image_path: Path
    read: Callable[[], LabelledImage] = field(repr=False)


class BenchmarkReader(ABC):
    """Reader of a benchmark on disk.

    Attributes:
        name: name of the benchmark and of its packaged vocabulary.
        folder: name of the data set's folder.
        layout: the expected files, for help texts and errors.
        base: path of the data set's folder.
        vocabulary: label maps of evaluation items index it; those of training items index
            ``vocabulary.seen()``.
        resized_in_released_code: the released PartCLIPSeg evaluation resizes this data set's labels.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    layout: ClassVar[str]
    resized_in_released_code: ClassVar[bool] = True

    def __init__(self, root: str | Path | None = None) -> None:
        """Load the vocabulary; files are read on demand.

        Args:
            root: parent of the data set's folder; None takes $DETECTRON2_DATASETS, else ./datasets.
        """
        self.base = benchmark_root(root) / self.folder
        self.vocabulary: Vocabulary = load_vocabulary(self.name)

    @abstractmethod
    def evaluation_items(self) -> Sequence[BenchmarkItem]:
        """List the items of the benchmark's protocol; items of one image are consecutive.

        Raises:
            DatasetError: files are missing or malformed.
        """

    @abstractmethod
    def training_items(self) -> Sequence[BenchmarkItem]:
        """List the training images; unseen objects and their parts are set to :data:`IGNORE`.

        Raises:
            DatasetError: files are missing or malformed.
        """

    def object_table(self, target: Vocabulary) -> NDArray[np.int32]:
        """Return int32 [objects]: raw object index -> index into ``target.objects_with_parts``."""
        rows = {name: row for row, name in enumerate(target.objects_with_parts)}
        return np.array(
            [rows.get(name, IGNORE) for name in self.vocabulary.objects], dtype=np.int32
        )

    def part_table(self, target: Vocabulary) -> NDArray[np.int32]:
        """Return int32 [T]: raw object-part index -> index into ``target.object_parts``."""
        rows = {pair: row for row, pair in enumerate(target.object_parts)}
        return np.array(
            [rows.get(pair, IGNORE) for pair in self.vocabulary.object_parts], dtype=np.int32
        )


def check_same_size(image: NDArray[np.uint8], labels: NDArray[np.int32], path: Path) -> None:
    """Check that a label map has the size of its image.

    Raises:
        DatasetError: the sizes differ.
    """
    if labels.shape != image.shape[:2]:
        raise DatasetError(
            f"{path} is {labels.shape[0]}x{labels.shape[1]}, its image {image.shape[0]}x{image.shape[1]} "
            "(height x width); a label map has the size of its image."
        )
