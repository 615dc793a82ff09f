"""A folder of labelled photographs: images beside a COCO ``annotations.json`` that names objects and parts.

::

    DIR/annotations.json
    DIR/*.jpg ...          as "file_name" says, relative to DIR or to DIR/images

A category has ``object`` and ``part`` in place of ``name``; either may be empty: {"id": 3, "object": "mug",
"part": "handle"}. An annotation has a ``segmentation`` (polygons or run lengths) or a ``mask``, the path of
a PNG relative to DIR whose pixels are not 0 on the part.

Files whose categories have only a ``name`` (``front_left_door``) can be read as parts of one object that the
caller names.
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
    require_each,
)
from ovps_core.errors import DatasetError

ANNOTATIONS = "annotations.json"


@dataclass(frozen=True, order=True)
class ObjectPart:
    """What an annotation shows: a part of an object; an empty part is the whole object."""

    object: str
    part: str

    @property
    def name(self) -> str:
        """ "mug handle", "mug", or "handle"."""
        return f"{self.object} {self.part}".strip()


@dataclass(frozen=True)
class FolderImage:
    """One photograph with its annotations still packed; see :meth:`CocoFolder.masks`."""

    name: str
    path: Path
    annotations: tuple[dict[str, Any], ...] = field(repr=False)


class CocoFolder:
    """A folder of photographs with COCO annotations of parts.

    Args:
        directory: the folder, or a COCO file beside its images or beside a folder of its own name.
        object: what categories without ``object`` and ``part`` are parts of; their ``name`` is the part's,
            underscores read as spaces, and a background category is left out.

    Attributes:
        categories: every (object, part) that the file knows, sorted.
        images: in the order of the file.

    Raises:
        DatasetError: the folder, its annotations or its images are not as the module describes.
    """

    def __init__(self, directory: str | Path, *, object: str = "") -> None:
        path = Path(directory)
        self._table = path if path.suffix == ".json" else path / ANNOTATIONS
        beside = self._table.with_suffix("")  # train.json with its images in train/ or next to it
        self.directory = beside if beside.is_dir() else self._table.parent
        self._object = object.strip()
        if not self._table.is_file():
            raise DatasetError(
                f"{self._table} is missing. Expected a folder of images with a COCO {ANNOTATIONS} whose "
                'categories look like {"id": 1, "object": "mug", "part": "handle"}.'
            )
        content = read_json(self._table)
        absent = {"images", "annotations", "categories"} - set(content)
        if absent:
            raise DatasetError(
                f"{self._table} has no {', '.join(sorted(absent))}: it is not a COCO file."
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
                entry["file_name"], self._place(entry["file_name"]), tuple(by_image[entry["id"]])
            )
            for entry in content["images"]
        )
        require_each([image.path for image in self.images], f"{ANNOTATIONS} lists it")

    def read(self, image: FolderImage) -> NDArray[np.uint8]:
        """The photograph, RGB uint8 [H, W, 3]."""
        return read_rgb(image.path)

    def masks(
        self, image: FolderImage, height: int, width: int
    ) -> dict[ObjectPart, NDArray[np.bool_]]:
        """Per category that is in the image the union of its annotations, bool [height, width].

        Raises:
            DatasetError: a segmentation or a mask file cannot be read, or has another size.
        """
        masks: dict[ObjectPart, NDArray[np.bool_]] = {}
        for annotation in image.annotations:
            category = self._category[annotation["category_id"]]
            source = f"{image.name}, annotation {annotation.get('id', '?')}"
            mask = self._mask(annotation, height, width, source)
            masks[category] = masks[category] | mask if category in masks else mask
        return masks

    def _place(self, file_name: str) -> Path:
        below = self.directory / "images" / file_name
        return below if below.is_file() else self.directory / file_name

    def _read_category(self, entry: dict[str, Any]) -> ObjectPart:
        category = ObjectPart(
            str(entry.get("object", "")).strip(), str(entry.get("part", "")).strip()
        )
        if self._object and not category.name:
            category = ObjectPart(
                self._object, str(entry.get("name", "")).replace("_", " ").strip()
            )
        if not category.name:
            raise DatasetError(
                f"{self._table}: category {entry} names neither an object nor a part. Write it as "
                '{"id": 1, "object": "mug", "part": "handle"}; leave one of the two empty for a whole object '
                "or for a part of any object. Categories with a name only can be read as the parts of one "
                "object that you name."
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
                f"{source}: {annotation['mask']} is {mask.shape}, the image ({height}, {width})."
            )
        return mask


def _is_background(entry: dict[str, Any]) -> bool:
    return str(entry.get("name", "")).strip("_ ").lower() == "background"
