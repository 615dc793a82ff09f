"""Labelled photographs as training crops, and their objects pasted into other pictures.

A photograph's labels are partial. Pixels without a label show something unknown, but not the categories of
which every instance is labelled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ovps_core.datasets.coco_categories import ObjectPart
from ovps_core.datasets.coco_check import FolderImage
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.language.mirrored_names import mirrored_rows
from ovps_core.pipeline.preprocess import image_paths
from ovps_core.structures.image_files import load_image
from ovps_core.synthetic.settings import IGNORED
from training.compact.augment import (
    Picture,
    crop,
    degrade,
    mirrors,
    new_generator,
    random_similarity,
    scaling,
)

UNCERTAIN = 254
"""Pixel value beside a label, where an outline drawn by hand may be wrong: no loss."""

_MAX_SIDE = 640
_OUTLINE = 4
"""Accuracy of outlines drawn by hand, pixels."""

Sample = tuple[Tensor, Tensor, Tensor]
"""RGB uint8 [3, S, S], object-part ids int64 [S, S], and bool [256]: ids that no unlabelled pixel shows."""


@dataclass(frozen=True)
class Photograph:
    """One labelled photograph in memory; what is labelled "background" has the id 0.

    Attributes:
        rgb: uint8 [H, W, 3].
        ids: object-part ids uint8 [H, W]; IGNORED without a label, UNCERTAIN beside one.
        absent: bool [256], ids that no unlabelled pixel shows.
        cutouts: mask uint8 [H, W] of each whole object that the picture's edge does not cut.
        mirrored_ids: see :func:`mirrored_ids`.
    """

    rgb: Picture
    ids: Picture
    absent: NDArray[np.bool_]
    cutouts: tuple[Picture, ...]
    mirrored_ids: Picture


def mirrored_ids(object_parts: Sequence[tuple[str, str]]) -> Picture:
    """The id that each one becomes in a mirrored picture, uint8 [256]: a left part becomes the right one.

    A part whose counterpart has no id becomes UNCERTAIN.

    Args:
        object_parts: (object, part) of the id i + 1.
    """
    ids = np.arange(256, dtype=np.uint8)
    for row, counterpart in enumerate(mirrored_rows(object_parts)):
        ids[row + 1] = UNCERTAIN if counterpart is None else counterpart + 1
    return ids


def open_photographs(
    folder: Path,
    *,
    pseudo_labels: bool = False,
    labelled_only: bool = False,
    objects: Collection[str] = (),
) -> CocoFolder:
    """Open a folder of photographs, and say how many are left out since nobody has labelled them.

    Args:
        folder: of the photographs, with ``annotations.json``.
        pseudo_labels: use annotations that a model made, too.
        labelled_only: leave out photographs that nobody has labelled.
        objects: objects of categories that have only a name, see :class:`CocoFolder`.

    Raises:
        DatasetError: the folder or a file in it cannot be read, or nobody has labelled a photograph.
    """
    source = CocoFolder(
        folder, pseudo_labels=pseudo_labels, labelled_only=labelled_only, objects=objects
    )
    if source.unlabelled:
        total = len(source.images) + source.unlabelled
        print(
            f"{folder}: {source.unlabelled} of {total} pictures are left out, since nobody has labelled them"
        )
    return source


def read_photographs(
    folder: Path,
    object_parts: Sequence[tuple[str, str]],
    *,
    pseudo_labels: bool = False,
    labelled_only: bool = False,
    taught: Collection[str] = (),
) -> list[Photograph]:
    """Read all photographs of a folder, at most 640 pixels wide or high.

    Args:
        folder: of the photographs, with ``annotations.json``.
        object_parts: (object, part) of the id i + 1; others stay unlabelled.
        pseudo_labels: read annotations that a model made, too.
        labelled_only: leave out photographs that nobody has labelled, and say how many.
        taught: objects whose absence is learned; empty for all. A few pictures without a hammer, again and again,
            would make a network forget hammers.

    Raises:
        DatasetError: the folder or a file in it cannot be read, or nobody has labelled a photograph.
    """
    source = open_photographs(
        folder,
        pseudo_labels=pseudo_labels,
        labelled_only=labelled_only,
        objects={name for name, _ in object_parts},
    )
    id_of, mirrored = _ids(object_parts), mirrored_ids(object_parts)
    may_lack = {category for category in id_of if not taught or category.object in taught}
    return [
        _read(source, image, id_of, mirrored, may_lack & source.exhaustive(image))
        for image in source.images
    ]


def photographs_to_score(
    source: CocoFolder, object_parts: Sequence[tuple[str, str]], count: int
) -> list[Photograph]:
    """Read at most ``count`` photographs, spread over a folder, at most 640 pixels wide or high.

    Unlabelled pixels lack the categories that `ovps evaluate folder` asks of the picture.

    Args:
        source: the folder.
        object_parts: (object, part) of the id i + 1; others stay unlabelled.
        count: maximum number of photographs.

    Raises:
        DatasetError, ImageError: a photograph or its labels cannot be read.
    """
    id_of, mirrored, images = _ids(object_parts), mirrored_ids(object_parts), source.images
    chosen = np.linspace(0, len(images), min(count, len(images)), endpoint=False, dtype=int)
    return [
        _read(source, image, id_of, mirrored, id_of.keys() & set(source.scored(image)))
        for image in (images[i] for i in chosen)
    ]


def read_unlabelled(folder: Path, object_parts: Sequence[tuple[str, str]]) -> list[Photograph]:
    """Read all pictures of a folder, at most 640 pixels wide or high, as photographs without a label.

    Raises:
        ImageError: the folder holds no pictures, or one cannot be read.
    """
    mirrored, nothing = mirrored_ids(object_parts), np.zeros(256, bool)
    photographs = []
    for path in image_paths(folder):
        rgb = _shrink(load_image(path), cv2.INTER_AREA)
        unknown = np.full(rgb.shape[:2], IGNORED, np.uint8)
        photographs.append(Photograph(rgb, unknown, nothing, (), mirrored))
    return photographs


def _ids(object_parts: Sequence[tuple[str, str]]) -> dict[ObjectPart, int]:
    return {ObjectPart(*object_part): i + 1 for i, object_part in enumerate(object_parts)}


def _read(
    source: CocoFolder,
    image: FolderImage,
    id_of: dict[ObjectPart, int],
    mirrored: Picture,
    complete: Collection[ObjectPart],
) -> Photograph:
    """Read a photograph, of whose ``complete`` categories no unlabelled pixel shows one."""
    rgb = source.read(image)
    height, width = rgb.shape[:2]
    ids = np.full((height, width), IGNORED, np.uint8)
    ids[source.background(image, height, width)] = 0
    labelled = np.zeros((height, width), np.uint8)
    objects: dict[object, NDArray[np.bool_]] = {}
    instances = list(source.instances(image, height, width))
    for _, category, mask in sorted(instances, key=_drawing_order):
        ids[mask] = id_of.get(category, UNCERTAIN)
    for instance, category, mask in instances:
        labelled |= mask.view(np.uint8)
        key = (category.object, str(instance))
        objects[key] = objects[key] | mask if key in objects else mask
    kernel = np.ones((2 * _OUTLINE + 1,) * 2, np.uint8)
    beside = (cv2.dilate(labelled, kernel) > 0) & (ids == IGNORED)
    ids[beside] = UNCERTAIN
    absent = np.zeros(256, bool)
    absent[[id_of[category] for category in complete]] = True
    cutouts = [_shrink(m.view(np.uint8), cv2.INTER_NEAREST) for m in objects.values() if _whole(m)]
    return Photograph(
        _shrink(rgb, cv2.INTER_AREA),
        _shrink(ids, cv2.INTER_NEAREST),
        absent,
        tuple(cutouts),
        mirrored,
    )


def _shrink(array: Picture, interpolation: int) -> Picture:
    """A picture or its labels, at most 640 pixels wide or high."""
    height, width = array.shape[:2]
    scale = min(1.0, _MAX_SIDE / max(height, width))
    if scale == 1:
        return array
    size = round(width * scale), round(height * scale)
    return np.asarray(cv2.resize(array, size, interpolation=interpolation), np.uint8)


def _drawing_order(instance: tuple[object, ObjectPart, NDArray[np.bool_]]) -> tuple[bool, int]:
    """Whole objects come below parts, large masks below small ones."""
    _, category, mask = instance
    return bool(category.part), -int(mask.sum())


def _whole(mask: NDArray[np.bool_]) -> bool:
    """True if the picture's edge does not cut the object, and it is neither tiny nor the whole picture."""
    edge = np.concatenate(
        [mask[:2].ravel(), mask[-2:].ravel(), mask[:, :2].ravel(), mask[:, -2:].ravel()]
    )
    return not edge.any() and 400 < int(mask.sum()) < 0.4 * mask.size


class PhotographCrops(Dataset[Sample]):
    """Random crops of labelled photographs, most of them around a label.

    Args:
        photographs: in memory.
        size: side S of the crops, pixels.
        augment: draw at random; False gives the whole photograph.
    """

    def __init__(
        self, photographs: Sequence[Photograph], size: int, *, augment: bool = True
    ) -> None:
        self.photographs = photographs
        self.size = size
        self.augment = augment

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, index: int) -> Sample:
        """One crop; a new random one at each call if augmented."""
        photograph = self.photographs[index]
        absent = photograph.absent
        if not self.augment:
            height, width = photograph.ids.shape
            matrix = scaling(height, width, self.size)
            return as_sample(*_crop(photograph, matrix, self.size), absent)
        rng = new_generator()
        rgb, ids, mirrored = self.random_crop(index, rng)
        if mirrored:
            absent = absent[photograph.mirrored_ids]
        return as_sample(degrade(rgb, rng), ids, absent)

    def random_crop(self, index: int, rng: np.random.Generator) -> tuple[Picture, Picture, bool]:
        """Random crop, RGB uint8 [S, S, 3] and ids uint8 [S, S], and whether it is mirrored."""
        photograph = self.photographs[index]
        height, width = photograph.ids.shape
        zoom = float(np.exp(rng.uniform(np.log(0.75), np.log(2.4))))
        centre = (
            width / 2 + rng.uniform(-0.1, 0.1) * width,
            height / 2 + rng.uniform(-0.1, 0.1) * height,
        )
        if zoom > 1.2 and rng.random() < 0.8:
            shift = rng.uniform(-0.25, 0.25, 2) * width / zoom
            labelled = _labelled_pixel(photograph.ids, rng) or centre
            centre = labelled[0] + shift[0], labelled[1] + shift[1]
        matrix = random_similarity(centre, zoom * self.size / max(height, width), self.size, rng)
        return *_crop(photograph, matrix, self.size), mirrors(matrix)


def _labelled_pixel(ids: Picture, rng: np.random.Generator) -> tuple[float, float] | None:
    """(x, y) of a random pixel of a random label, so that a handle is seen as often as its door.

    Background counts as one label. None without any label.
    """
    coarse = ids[::2, ::2]
    labels = np.unique(coarse[coarse < UNCERTAIN])
    if not len(labels):
        return None
    rows, columns = np.nonzero(coarse == rng.choice(labels))
    pick = int(rng.integers(len(rows)))
    return 2.0 * float(columns[pick]), 2.0 * float(rows[pick])


class PastedObjects(Dataset[Sample]):
    """Objects of photographs, cut out and pasted onto pictures whose content is known.

    Cut-and-paste after Dwibedi et al. (ICCV 2017): it shows an object before many backgrounds, all of them
    labelled.

    Args:
        photographs: in memory.
        size: side S of the crops, pixels.
        background: gives RGB uint8 [S, S, 3] and object-part ids uint8 [S, S] of a picture to paste onto.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        size: int,
        background: Callable[[int, np.random.Generator], tuple[Picture, Picture]],
    ) -> None:
        self.size = size
        self.background = background
        self.cutouts = [(p, mask) for p in photographs for mask in p.cutouts]

    def __len__(self) -> int:
        return len(self.cutouts)

    def __getitem__(self, index: int) -> Sample:
        """The object of this index and up to three more, on a random picture."""
        rng = new_generator()
        rgb, ids = self.background(self.size, rng)
        others = rng.integers(len(self.cutouts), size=int(rng.integers(0, 4)))
        for which in (*others, index):
            rgb, ids = self._paste(rgb, ids, *self.cutouts[int(which)], rng)
        return as_sample(degrade(rgb, rng), ids, np.zeros(256, bool))

    def _paste(
        self,
        rgb: Picture,
        ids: Picture,
        photograph: Photograph,
        mask: Picture,
        rng: np.random.Generator,
    ) -> tuple[Picture, Picture]:
        left, top, width, height = cv2.boundingRect(mask)
        target = float(np.exp(rng.uniform(np.log(0.15), np.log(0.95)))) * self.size
        offset = rng.uniform(-0.35, 0.35, 2) * self.size
        matrix = random_similarity(
            (left + width / 2, top + height / 2), target / max(width, height), self.size, rng
        )
        matrix[:, 2] += offset
        picture, labels = _crop(photograph, matrix, self.size)
        side = (self.size, self.size)
        inside = np.asarray(cv2.warpAffine(mask, matrix, side, flags=cv2.INTER_NEAREST)) == 1
        alpha = np.asarray(
            cv2.GaussianBlur(inside.astype(np.float32), (0, 0), rng.uniform(0.5, 1.0))
        )
        gain = rng.uniform(0.7, 1.25) * rng.uniform(0.92, 1.08, 3)
        picture = np.clip(picture * gain, 0, 255)
        mixed = rgb * (1 - alpha[..., None]) + picture * alpha[..., None]
        return mixed.astype(np.uint8), np.where(inside, labels, ids).astype(np.uint8)


def _crop(
    photograph: Photograph, matrix: NDArray[np.float64], size: int
) -> tuple[Picture, Picture]:
    return crop(
        photograph.rgb,
        photograph.ids,
        matrix,
        size,
        unknown_outside=True,
        mirrored_ids=photograph.mirrored_ids,
    )


def as_sample(rgb: Picture, ids: Picture, absent: NDArray[np.bool_]) -> Sample:
    """Arrays of one crop as tensors."""
    picture = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)
    return picture, torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(absent)
