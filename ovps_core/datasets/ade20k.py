"""Readers of ADE20K as its two challenges publish it: scene parsing (150 classes) and instances (100 classes).

::

    ADEChallengeData2016/
      images/validation/*.jpg
      objectInfo150.txt                      a header, then lines of: number, ratio, train, val, name
      annotations/validation/*.png           grey: class 1-150, 0 is unlabelled
      annotations_instance/validation/*.png  RGB: red is the class 1-100, green the instance 1-255 in the image
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.benchmark_reader import check_same_size
from ovps_core.datasets.label_files import require_files
from ovps_core.datasets.labelled_objects import LabelledObjects, ObjectDataset
from ovps_core.errors import DatasetError
from ovps_core.structures.boxes import Box
from ovps_core.structures.image_files import load_image, load_labels

STUFF = (
    *(1, 2, 3, 4, 5, 6, 7, 10, 12, 14, 17, 18, 22, 26, 27, 29, 30, 35, 41, 47, 49, 52, 53, 55, 60),
    *(
        61,
        62,
        64,
        69,
        78,
        80,
        85,
        92,
        95,
        97,
        100,
        101,
        102,
        106,
        107,
        110,
        114,
        115,
        118,
        123,
        129,
    ),
    *(132, 141, 142, 146),
)
"""Numbers of the scene parsing classes that the instance challenge leaves out; it counts the others from 1."""
THINGS = tuple(number for number in range(1, 151) if number not in STUFF)
"""Numbers of the other scene parsing classes."""


class _Ade20k(ObjectDataset):
    """Images of a split with a PNG of labels for each.

    Args:
        place: the folder ADEChallengeData2016.
        folder: "validation" or "training".
        labels: folder of the PNGs.

    Raises:
        DatasetError: a file is missing, or the list of classes is malformed.
    """

    def __init__(self, place: Path, folder: str, labels: str) -> None:
        self.source = place / labels / folder
        self.has_masks = True
        images = place / "images" / folder
        self._images = sorted(images.glob("*.jpg"))
        if not self._images:
            raise DatasetError(f"{images} holds no .jpg; expected the pictures of ADE20K.")
        require_files(map(self.label_path, range(len(self))), "there is a picture of that name")
        names = _class_names(place / "objectInfo150.txt")
        self.things = tuple(names[number] for number in THINGS)
        self.stuff = tuple(names[number] for number in STUFF)

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> LabelledObjects:
        """See :meth:`ObjectDataset.read`."""
        image = load_image(self._images[index])
        labels, masks = self._regions(index, image)
        boxes = [Box.of_mask(mask).corners for mask in masks]
        stacked = np.stack(masks) if masks else np.zeros((0, *image.shape[:2]), dtype=bool)
        none = np.zeros(len(labels), dtype=bool)
        return LabelledObjects(
            image,
            np.array(labels, dtype=np.int64),
            np.array(boxes, dtype=np.float32).reshape(-1, 4),
            stacked,
            stacked.sum((1, 2)).astype(np.float64),
            crowds=none,
            pseudo=none,
        )

    def label_path(self, index: int) -> Path:
        """The PNG of an image."""
        return self.source / f"{self._images[index].stem}.png"

    @abstractmethod
    def _regions(
        self, index: int, image: NDArray[np.uint8]
    ) -> tuple[list[int], list[NDArray[np.bool_]]]:
        """The label and the mask bool [H, W] of each region."""

    def _check(self, index: int, values: NDArray[np.int32], highest: int) -> None:
        """Check that class numbers are at most ``highest``.

        Raises:
            DatasetError: one is above.
        """
        if values.size and values.max() > highest:
            raise DatasetError(
                f"{self.label_path(index)} has the class {values.max()}; expected 1..{highest}, and 0 where there "
                "is none."
            )


class Ade20kSemantic(_Ade20k):
    """Scene parsing: one region for each of 150 classes that are in an image."""

    has_regions = True

    def __init__(self, place: Path, folder: str = "validation") -> None:
        super().__init__(place, folder, "annotations")

    def _regions(
        self, index: int, image: NDArray[np.uint8]
    ) -> tuple[list[int], list[NDArray[np.bool_]]]:
        numbers = load_labels(self.label_path(index))
        check_same_size(image, numbers, self.label_path(index))
        present = np.unique(numbers)
        self._check(index, present, len(THINGS + STUFF))
        present = present[present > 0]
        order = THINGS + STUFF
        return [order.index(number) for number in present], [numbers == n for n in present]


class Ade20kInstances(_Ade20k):
    """Instances of 100 classes of things; the 50 of stuff have none."""

    def __init__(self, place: Path, folder: str = "validation") -> None:
        super().__init__(place, folder, "annotations_instance")

    def _regions(
        self, index: int, image: NDArray[np.uint8]
    ) -> tuple[list[int], list[NDArray[np.bool_]]]:
        channels = load_image(self.label_path(index)).astype(np.int32)
        classes, instances = channels[..., 0], channels[..., 1]
        check_same_size(image, classes, self.label_path(index))
        codes = np.where(instances > 0, classes * 256 + instances, 0)
        present = [int(code) for code in np.unique(codes) if code]
        numbers = np.array([code // 256 for code in present], dtype=np.int32)
        self._check(index, numbers, len(THINGS))
        if (numbers == 0).any():
            raise DatasetError(
                f"{self.label_path(index)} has an instance of the class 0; expected 1..{len(THINGS)}."
            )
        return (numbers - 1).tolist(), [codes == code for code in present]


def _class_names(path: Path) -> dict[int, str]:
    """Name of each class number of objectInfo150.txt.

    Raises:
        DatasetError: a line has another form, or a class is missing.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}.") from error
    names: dict[int, str] = {}
    for line in filter(str.strip, lines):
        fields: Sequence[str] = line.split(maxsplit=4)
        if len(fields) != 5 or not fields[0].isdigit():
            raise DatasetError(f"{path}: {line!r}; expected a number, three figures and a name.")
        names[int(fields[0])] = fields[4].strip()
    absent = set(THINGS + STUFF) - set(names)
    if absent:
        raise DatasetError(f"{path} does not name the class {min(absent)}; expected 1..150.")
    return names
