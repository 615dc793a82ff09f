"""Benchmark Pascal-Part-116: 20 objects of PASCAL VOC, 116 object parts, 5 unseen objects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ovps_core.datasets.benchmark_reader import (
    BenchmarkItem,
    BenchmarkReader,
    LabelledImage,
    check_same_size,
)
from ovps_core.datasets.label_files import (
    read_json,
    relabel,
    require_files,
    require_layout,
)
from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import IGNORE, Vocabulary
from ovps_core.structures.image_files import load_image, load_labels

OBJECT_LISTS = "annotations_detectron2_part/val_obj_label_count.json"


class PascalPart116(BenchmarkReader):
    """Reader of Pascal-Part-116 (Wei et al., "OV-PARTS", NeurIPS 2023).

    An evaluation item is one object category in one image. Boats, chairs, tables and sofas have no
    parts.
    """

    name = "pascal_part_116"
    folder = "PascalPart116"
    layout = """\
  PascalPart116/
    images/{train,val}/*.jpg
    annotations_detectron2_obj/{train,val}/*.png   8-bit, object index 0-19, 255 unlabelled
    annotations_detectron2_part/{train,val}/*.png  8-bit, object-part index 0-115, 255 unlabelled
    annotations_detectron2_part/val_obj_label_count.json  {"2008_000003.png": [object indices]}"""

    def evaluation_items(self) -> Sequence[BenchmarkItem]:
        """List the (image, object category) combinations of the validation images."""
        self._require_split("val", OBJECT_LISTS)
        present = read_json(self.base / OBJECT_LISTS)
        stems = {Path(name).stem: objects for name, objects in present.items()}
        self._require_files("val", list(stems), f"{OBJECT_LISTS} lists it")
        items = []
        for stem in sorted(stems):
            for index in sorted(set(stems[stem])):
                if not 0 <= index < len(self.vocabulary.objects):
                    raise DatasetError(
                        f"{self.base / OBJECT_LISTS}: {stem} has object index {index}; expected 0 to 19."
                    )
                read = partial(self._read, "val", stem, self.vocabulary, index)
                name = f"{stem} {self.vocabulary.objects[index]}"
                items.append(BenchmarkItem(name, self._image("val", stem), read))
        return items

    def training_items(self) -> Sequence[BenchmarkItem]:
        """List the training images with their seen objects."""
        self._require_split("train")
        folder = self.base / "annotations_detectron2_part/train"
        stems = sorted(path.stem for path in folder.glob("*.png") if not path.name.startswith("._"))
        self._require_files("train", stems, "its part labels are there")
        target = self.vocabulary.seen()
        return [
            BenchmarkItem(
                stem, self._image("train", stem), partial(self._read, "train", stem, target, None)
            )
            for stem in stems
        ]

    def _image(self, split: str, stem: str) -> Path:
        return self.base / "images" / split / f"{stem}.jpg"

    def _labels(self, kind: str, split: str, stem: str) -> Path:
        return self.base / f"annotations_detectron2_{kind}" / split / f"{stem}.png"

    def _require_split(self, split: str, *also: str) -> None:
        folders = ("images", "annotations_detectron2_obj", "annotations_detectron2_part")
        require_layout(
            self.base, [*(f"{folder}/{split}" for folder in folders), *also], self.layout
        )

    def _require_files(self, split: str, stems: Sequence[str], reason: str) -> None:
        images = [self._image(split, stem) for stem in stems]
        labels = [self._labels(kind, split, stem) for kind in ("obj", "part") for stem in stems]
        require_files([*images, *labels], reason)

    def _read(self, split: str, stem: str, target: Vocabulary, only: int | None) -> LabelledImage:
        """Read an item for the vocabulary ``target``; ``only`` keeps the labels of one object."""
        image = load_image(self._image(split, stem))
        object_path, part_path = self._labels("obj", split, stem), self._labels("part", split, stem)
        raw_objects, raw_parts = load_labels(object_path), load_labels(part_path)
        check_same_size(image, raw_objects, object_path)
        check_same_size(image, raw_parts, part_path)
        ignore = self.vocabulary.ignore_label
        objects = relabel(raw_objects, self.object_table(target), ignore, object_path)
        parts = relabel(raw_parts, self.part_table(target), ignore, part_path)
        if only is not None:
            elsewhere = raw_objects != only
            objects, parts = (
                np.where(elsewhere, IGNORE, objects),
                np.where(elsewhere, IGNORE, parts),
            )
        return LabelledImage(image, objects, parts)
