"""Data set of a bulk annotation: results of units, joined with what its file holds of people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ovps_core.bulk.coco_writer import write_coco
from ovps_core.datasets.coco_categories import CategoryTable, unused_ids
from ovps_core.datasets.coco_check import is_submitted
from ovps_core.datasets.coco_folder import ANNOTATIONS, is_pseudo_label
from ovps_core.datasets.label_files import read_json

_ADDED = ("id", "image_id", "category_id", "agreement", "iscrowd")


def write_data_set(out: Path, results: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Write ``OUT/annotations.json`` with the images of results, in their order.

    Images, annotations and categories that the file has keep their ids, so that a project of Label Studio still
    fits. An image that people labelled stays as it is, also if no result has it any more.

    Args:
        out: folder of the data set.
        results: each with the (object, part) ``asked``, and ``images`` with their ``annotations``. One is in
            memory at a time.

    Returns:
        Numbers of images and of annotations.

    Raises:
        OutputError: the file cannot be written.
    """
    path = out / ANNOTATIONS
    data_set = _DataSet(read_json(path) if path.is_file() else {})
    write_coco(path, data_set.annotations(results), data_set.others)
    return len(data_set.images), data_set.count


class _DataSet:
    """A new version of a COCO file.

    Args:
        earlier: content of the file; empty if there is none.

    Attributes:
        images: those of the annotations that were given so far.
        count: number of these annotations.
    """

    def __init__(self, earlier: dict[str, Any]) -> None:
        images = earlier.pop("images", ())
        annotations = earlier.pop("annotations", ())
        self._categories = CategoryTable(earlier.pop("categories", ()))
        self._further = earlier
        self._left = {_identity(image): image for image in images}
        self._found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in annotations:
            self._found[annotation["image_id"]].append(annotation)
        self.images: list[dict[str, Any]] = []
        self.count = 0
        self._image_ids, self._annotation_ids = (
            unused_ids(entries) for entries in (images, annotations)
        )

    def annotations(self, results: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Annotations of results, then of images that only people labelled."""
        for result in results:
            for asked in result.get("asked", ()):  # not in results of earlier versions
                self._categories.id_of(*asked)  # what was not found can be drawn
            for image in result["images"]:
                yield from self._add(image)
        for earlier in self._left.values():
            if self._is_labelled(earlier):
                yield from self._keep(earlier)

    def others(self) -> dict[str, Any]:
        """All other keys of the file, once its annotations have been given."""
        return {**self._further, "images": self.images, "categories": self._categories.entries}

    def _add(self, image: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Add an image of a result, or keep what people made of it."""
        earlier = self._left.pop(_identity(image), None)
        if earlier is not None and self._is_labelled(earlier):
            yield from self._keep(earlier)
            return
        number = next(self._image_ids) if earlier is None else earlier["id"]
        entry = {key: value for key, value in image.items() if key != "annotations"}
        self.images.append({"id": number, **entry})
        known = [] if earlier is None else list(self._found[number])
        for annotation in image["annotations"]:
            same = next((each for each in known if _is_same(each, annotation)), None)
            if same is not None:
                known.remove(same)
            ids = {
                "id": next(self._annotation_ids) if same is None else same["id"],
                "image_id": number,
                "category_id": self._categories.id_of(annotation["object"], annotation["part"]),
            }
            self.count += 1
            yield {**ids, **annotation}

    def _is_labelled(self, image: Mapping[str, Any]) -> bool:
        """Return whether people submitted an image, or changed one of its annotations."""
        return is_submitted(image) or not all(map(is_pseudo_label, self._found[image["id"]]))

    def _keep(self, image: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self.images.append(image)
        kept = self._found[image["id"]]
        self.count += len(kept)
        yield from kept


def _identity(image: Mapping[str, Any]) -> Hashable:
    """Name of an image that stays: its file, or its place in a recording."""
    if "recording" in image:
        return image["recording"], image["stamp_ns"]
    return image["file_name"]


def _is_same(earlier: Mapping[str, Any], annotation: Mapping[str, Any]) -> bool:
    return _found(earlier) == _found(annotation)


def _found(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a model, without the keys that were added to it afterwards."""
    return {key: value for key, value in annotation.items() if key not in _ADDED}
