"""Benchmark PartImageNet: 40 ImageNet classes as objects, 147 object parts, 15 unseen classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ovps_core.datasets.benchmark_reader import BenchmarkItem, BenchmarkReader, LabelledImage
from ovps_core.datasets.label_files import (
    read_json,
    require_files,
    require_layout,
)
from ovps_core.datasets.segmentations import decode_segmentation
from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import IGNORE, Vocabulary, read_packaged
from ovps_core.structures.image_files import load_image


class PartImageNet(BenchmarkReader):
    """Reader of PartImageNet (He et al., ECCV 2022).

    An evaluation item is one image. Its object is the ImageNet class in the file's name, and covers
    the union of its parts. Images of classes outside the 40 are skipped.
    """

    name = "partimagenet"
    folder = "PartImageNet"
    layout = """\
  PartImageNet/
    images/{train,val}/n02422699_*.JPEG   the name starts with the WordNet id of the class
    {train,val}.json                      COCO; category_id = one of 40 super-category parts (0-39)"""
    resized_in_released_code = False

    def __init__(self, root: str | Path | None = None) -> None:
        """Load the vocabulary and the names of classes and categories; see the base class."""
        super().__init__(root)
        packaged = read_packaged(self.name)
        self._object_of_wnid: dict[str, str] = packaged["object_of_wnid"]
        self._part_of_category = {
            category["id"]: category["name"].removeprefix(category["supercategory"]).strip().lower()
            for category in packaged["part_categories"]
        }

    def evaluation_items(self) -> Sequence[BenchmarkItem]:
        """List the validation images."""
        return self._items("val", self.vocabulary)

    def training_items(self) -> Sequence[BenchmarkItem]:
        """List the training images of the seen classes."""
        return self._items("train", self.vocabulary.seen())

    def _items(self, split: str, target: Vocabulary) -> list[BenchmarkItem]:
        require_layout(self.base, [f"images/{split}", f"{split}.json"], self.layout)
        content = read_json(self.base / f"{split}.json")
        annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in content["annotations"]:
            annotations[annotation["image_id"]].append(annotation)
        items = []
        for entry in sorted(content["images"], key=lambda image: str(image["file_name"])):
            path = self.base / "images" / split / Path(entry["file_name"]).name
            object_name = self._object_of_wnid.get(path.name.split("_")[0], "")
            if object_name in target.objects_with_parts:
                read = partial(self._read, path, object_name, annotations[entry["id"]], target)
                items.append(BenchmarkItem(path.stem, path, read))
        require_files([item.image_path for item in items], f"{split}.json lists it")
        return items

    def _read(
        self,
        path: Path,
        object_name: str,
        annotations: Sequence[dict[str, Any]],
        target: Vocabulary,
    ) -> LabelledImage:
        image = load_image(path)
        parts = np.full(image.shape[:2], IGNORE, dtype=np.int32)
        rows = {pair: row for row, pair in enumerate(target.object_parts)}
        for annotation in annotations:
            part = self._part_of_category.get(annotation["category_id"], "")
            if (object_name, part) not in rows:
                raise DatasetError(
                    f"{path.name}: annotation {annotation['id']} has category {annotation['category_id']} "
                    f"({part or 'unknown'}), which a {object_name} does not have."
                )
            source = f"{path.name}, annotation {annotation['id']}"
            mask = decode_segmentation(
                annotation["segmentation"], image.shape[0], image.shape[1], source
            )
            parts[mask] = rows[object_name, part]
        row = target.objects_with_parts.index(object_name)
        return LabelledImage(image, np.where(parts == IGNORE, IGNORE, row).astype(np.int32), parts)
