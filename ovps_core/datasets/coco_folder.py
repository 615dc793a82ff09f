"""Reader of a folder of labelled photographs with a COCO ``annotations.json``.

::

    DIR/annotations.json
    DIR/*.jpg ...          each "file_name" is relative to DIR or to DIR/images

A category has ``object`` and ``part`` instead of ``name``: {"id": 3, "object": "mug", "part": "handle"}.
One of the two may be empty. An annotation has a ``segmentation`` (polygons or run lengths) or a ``mask``:
the path, relative to DIR, of a PNG whose nonzero pixels show the part.

Files whose categories have only a ``name``, such as ``front_left_door``, can be read as parts of one
object that the caller names.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.label_files import (
    decode_segmentation,
    read_json,
    read_labels,
    read_rgb,
    require_files,
)
from ovps_core.errors import DatasetError

ANNOTATIONS = "annotations.json"
"""Name of the COCO file in a folder."""


@dataclass(frozen=True, order=True)
class ObjectPart:
    """The category of an annotation: a part of an object, or the whole object if ``part`` is empty."""

    object: str
    part: str

    @property
    def name(self) -> str:
        """Both names as one phrase: "mug handle", "mug", or "handle"."""
        return f"{self.object} {self.part}".strip()


@dataclass(frozen=True)
class FolderImage:
    """One photograph and its COCO annotations; :meth:`CocoFolder.masks` decodes them."""

    name: str
    path: Path
    annotations: tuple[dict[str, Any], ...] = field(repr=False)


class CocoFolder:
    """A folder of photographs with COCO annotations of parts.

    Attributes:
        directory: the folder of the images.
        categories: every (object, part) in the file, sorted.
        images: in the order of the file.
    """

    def __init__(self, directory: str | Path, *, object_name: str = "") -> None:
        """Read and check the annotations; images are read on demand.

        Args:
            directory: the folder, or a COCO file beside its images or beside a folder of its own name.
            object_name: object of the categories that have only a ``name``; that ``name`` becomes the
                part, with spaces for underscores. A background category is skipped.

        Raises:
            DatasetError: the folder, its annotations or its images differ from the module's description.
        """
        path = Path(directory)
        self._table = path if path.suffix == ".json" else path / ANNOTATIONS
        beside = self._table.with_suffix("")  # images of train.json are in train/ or beside it
        self.directory = beside if beside.is_dir() else self._table.parent
        self._object_name = object_name.strip()
        if not self._table.is_file():
            raise DatasetError(
                f"{self._table} is missing. Expected a folder of images with a COCO {ANNOTATIONS} whose "
                'categories look like {"id": 1, "object": "mug", "part": "handle"}.'
            )
        content = read_json(self._table)
        absent = {"images", "annotations", "categories"} - set(content)
        if absent:
            raise DatasetError(
                f"{self._table} has no {', '.join(sorted(absent))}; a COCO file has images, annotations "
                "and categories."
            )
        self._category = {
            entry["id"]: self._read_category(entry)
            for entry in content["categories"]
            if not _is_background(entry)
        }
        self.categories = tuple(sorted(set(self._category.values())))
        by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        known = {entry["id"] for entry in content["images"]}
        for annotation in content["annotations"]:
            self._check(annotation)
            if annotation.get("image_id") not in known:
                raise DatasetError(
                    f"{self._table}: annotation {annotation.get('id', '?')} has image_id "
                    f"{annotation.get('image_id')!r}, which is not among the images."
                )
            by_image[annotation["image_id"]].append(annotation)
        self.images = tuple(
            FolderImage(
                entry["file_name"],
                self._image_path(entry["file_name"]),
                tuple(by_image[entry["id"]]),
            )
            for entry in content["images"]
        )
        require_files([image.path for image in self.images], f"{ANNOTATIONS} lists it")

    def read(self, image: FolderImage) -> NDArray[np.uint8]:
        """Read a photograph as RGB uint8 [H, W, 3].

        Raises:
            DatasetError: the file is damaged.
        """
        return read_rgb(image.path)

    def masks(
        self, image: FolderImage, height: int, width: int
    ) -> dict[ObjectPart, NDArray[np.bool_]]:
        """Decode the mask bool [height, width] of each category in an image.

        Several annotations of one category are united.

        Raises:
            DatasetError: a segmentation or a mask file cannot be read, or differs in size.
        """
        masks: dict[ObjectPart, NDArray[np.bool_]] = {}
        for annotation in image.annotations:
            category = self._category[annotation["category_id"]]
            source = f"{image.name}, annotation {annotation.get('id', '?')}"
            mask = self._mask(annotation, height, width, source)
            masks[category] = masks[category] | mask if category in masks else mask
        return masks

    def _image_path(self, file_name: str) -> Path:
        below = self.directory / "images" / file_name
        return below if below.is_file() else self.directory / file_name

    def _read_category(self, entry: dict[str, Any]) -> ObjectPart:
        category = ObjectPart(
            str(entry.get("object", "")).strip(), str(entry.get("part", "")).strip()
        )
        if self._object_name and not category.name:
            category = ObjectPart(
                self._object_name, str(entry.get("name", "")).replace("_", " ").strip()
            )
        if not category.name:
            raise DatasetError(
                f"{self._table}: category {entry} names neither an object nor a part. Write it as "
                '{"id": 1, "object": "mug", "part": "handle"}; leave one of the two empty for a whole object '
                "or for a part of any object. A trainer can also read categories that have only a name, as "
                "parts of one object."
            )
        return category

    def _check(self, annotation: dict[str, Any]) -> None:
        if annotation.get("category_id") not in self._category:
            raise DatasetError(
                f"{self._table}: annotation {annotation.get('id', '?')} has category_id "
                f"{annotation.get('category_id')!r}, which is not among the categories."
            )
        if not annotation.get("segmentation") and not annotation.get("mask"):
            raise DatasetError(
                f"{self._table}: annotation {annotation.get('id', '?')} has neither a segmentation nor a "
                "mask."
            )

    def _mask(
        self, annotation: dict[str, Any], height: int, width: int, source: str
    ) -> NDArray[np.bool_]:
        if not annotation.get("mask"):
            return decode_segmentation(annotation["segmentation"], height, width, source)
        mask = read_labels(self.directory / annotation["mask"]) != 0
        if mask.shape != (height, width):
            raise DatasetError(
                f"{source}: {annotation['mask']} has the size {mask.shape}, but its image "
                f"({height}, {width}) (height, width)."
            )
        return np.asarray(mask)


def _is_background(entry: dict[str, Any]) -> bool:
    return str(entry.get("name", "")).strip("_ ").lower() == "background"
