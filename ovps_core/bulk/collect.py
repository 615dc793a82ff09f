"""Data set of a bulk annotation: results of units, joined with what its file holds of people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from ovps_core.datasets.coco_check import NOT_EXHAUSTIVE
from ovps_core.datasets.coco_folder import ANNOTATIONS, is_pseudo_label
from ovps_core.datasets.label_files import read_json
from ovps_core.structures.whole_files import write_json

_IDS = ("id", "image_id", "category_id")


def write_data_set(out: Path, results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Write ``OUT/annotations.json`` with the images of results, in their order.

    Images, annotations and categories that the file has keep their ids, so that a project of Label Studio still
    fits. An image that people labelled stays as it is, also if no result has it any more.

    Args:
        out: folder of the data set.
        results: each with ``images``, and those with their ``annotations``.

    Returns:
        The content of the file.

    Raises:
        OutputError: the file cannot be written.
    """
    path = out / ANNOTATIONS
    data_set = _DataSet(read_json(path) if path.is_file() else {})
    for result in results:
        for image in result["images"]:
            data_set.add(image)
    coco = data_set.content()
    write_json(path, coco)
    return coco


class _DataSet:
    """A new version of a COCO file.

    Args:
        earlier: content of the file; empty if there is none.
    """

    def __init__(self, earlier: Mapping[str, Any]) -> None:
        self._earlier = earlier
        images = earlier.get("images", ())
        annotations = earlier.get("annotations", ())
        self._left = {_identity(image): image for image in images}
        self._found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in annotations:
            self._found[annotation["image_id"]].append(annotation)
        self._categories = list(earlier.get("categories", ()))
        self._ids = {(c.get("object"), c.get("part")): c["id"] for c in self._categories}
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._image_ids, self._annotation_ids, self._category_ids = (
            count(1 + max((entry["id"] for entry in entries), default=0))
            for entries in (images, annotations, self._categories)
        )

    def add(self, image: Mapping[str, Any]) -> None:
        """Add an image of a result, or keep what people made of it."""
        earlier = self._left.pop(_identity(image), None)
        if earlier is not None and self._is_labelled(earlier):
            self._keep(earlier)
            return
        number = next(self._image_ids) if earlier is None else earlier["id"]
        entry = {key: value for key, value in image.items() if key != "annotations"}
        self._images.append({"id": number, **entry})
        known = [] if earlier is None else list(self._found[number])
        for annotation in image["annotations"]:
            same = next((each for each in known if _is_same(each, annotation)), None)
            if same is not None:
                known.remove(same)
            ids = {
                "id": next(self._annotation_ids) if same is None else same["id"],
                "image_id": number,
                "category_id": self._category(annotation["object"], annotation["part"]),
            }
            self._annotations.append({**ids, **annotation})

    def content(self) -> dict[str, Any]:
        """The whole file."""
        for earlier in self._left.values():
            if self._is_labelled(earlier):
                self._keep(earlier)
        return {
            **self._earlier,
            "images": self._images,
            "annotations": self._annotations,
            "categories": self._categories,
        }

    def _is_labelled(self, image: Mapping[str, Any]) -> bool:
        """Return whether people submitted an image, or changed one of its annotations."""
        return NOT_EXHAUSTIVE in image or not all(map(is_pseudo_label, self._found[image["id"]]))

    def _keep(self, image: dict[str, Any]) -> None:
        self._images.append(image)
        self._annotations += self._found[image["id"]]

    def _category(self, name: str, part: str) -> int:
        if (name, part) not in self._ids:
            number = next(self._category_ids)
            entry = {"id": number, "name": f"{name} {part}".strip(), "object": name, "part": part}
            self._categories.append(entry)
            self._ids[name, part] = number
        return int(self._ids[name, part])


def _identity(image: Mapping[str, Any]) -> Hashable:
    """Name of an image that stays: its file, or its place in a recording."""
    if "recording" in image:
        return image["recording"], image["stamp_ns"]
    return image["file_name"]


def _is_same(earlier: Mapping[str, Any], annotation: Mapping[str, Any]) -> bool:
    return {key: value for key, value in earlier.items() if key not in _IDS} == annotation
