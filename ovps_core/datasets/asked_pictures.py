"""Benchmarks that ask in sentences: one picture, one phrase, one mask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.label_files import benchmark_root


@dataclass(frozen=True)
class AskedPicture:
    """One question of a benchmark.

    Attributes:
        name: unique within the benchmark.
        phrase: what is asked.
        image_path: the photograph.
        read_truth: reads the mask, bool [H, W]; raises ImageError or DatasetError for a damaged file.
    """

    name: str
    phrase: str
    image_path: Path
    read_truth: Callable[[], NDArray[np.bool_]] = field(repr=False)


class PhraseBenchmark(ABC):
    """Reader of a benchmark on disk.

    Attributes:
        name: name of the benchmark.
        folder: name of the data set's folder.
        layout: the expected files, for help texts and errors.
        wordings: how the benchmark can ask, the usual way first.
        base: path of the data set's folder.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    layout: ClassVar[str]
    wordings: ClassVar[tuple[str, ...]]

    def __init__(self, root: str | Path | None = None) -> None:
        """Take the folder; files are read on demand.

        Args:
            root: parent of the data set's folder; None takes $DETECTRON2_DATASETS, else ./datasets.
        """
        self.base = benchmark_root(root) / self.folder

    @abstractmethod
    def questions(self, wording: str) -> Sequence[AskedPicture]:
        """List the questions of the test split, asked in one of :attr:`wordings`.

        Raises:
            DatasetError: files are missing or malformed.
        """
