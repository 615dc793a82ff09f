"""Benchmark ADE20K-Part-234: 44 indoor and street objects, 234 object parts, 11 unseen objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

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
from ovps_core.datasets.segmentations import decode_segmentation
from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import IGNORE, Vocabulary
from ovps_core.structures.image_files import load_image, load_labels

FOLDER_OF_SPLIT = {"train": "training", "val": "validation"}


class ADE20KPart234(BenchmarkReader):
    """Reader of ADE20K-Part-234 (Wei et al., "OV-PARTS", NeurIPS 2023).

    An evaluation item is one object instance: every instance of the validation images, and the
    instances of unseen objects in the training images.
    """

    name = "ade20k_part_234"
    folder = "ADE20KPart234"
    layout = """\
  ADE20KPart234/
    images/{training,validation}/*.jpg
    ade20k_instance_{train,val}.json  COCO; category_id = object index 0-43, one annotation an instance
    annotations_detectron2_part/{training,validation}/*.png  16-bit, object-part 0-233, 65535 unlabelled"""

    def evaluation_items(self) -> Sequence[BenchmarkItem]:
        """List the instances; those of unseen objects come from both splits."""
        unseen = {self.vocabulary.objects.index(name) for name in self.vocabulary.unseen_objects}
        items = []
        for split in ("val", "train"):
            for stem, instances in self._instances(split).items():
                for instance in instances:
                    if split == "train" and instance["category_id"] not in unseen:
                        continue
                    name = f"{stem} {self.vocabulary.objects[instance['category_id']]} {instance['id']}"
                    read = partial(self._read, split, stem, [instance], self.vocabulary, True)
                    items.append(BenchmarkItem(name, self._image(split, stem), read))
        return items

    def training_items(self) -> Sequence[BenchmarkItem]:
        """List the training images with their seen objects."""
        target = self.vocabulary.seen()
        return [
            BenchmarkItem(
                stem,
                self._image("train", stem),
                partial(self._read, "train", stem, instances, target, False),
            )
            for stem, instances in self._instances("train").items()
        ]

    def _image(self, split: str, stem: str) -> Path:
        return self.base / "images" / FOLDER_OF_SPLIT[split] / f"{stem}.jpg"

    def _labels(self, split: str, stem: str) -> Path:
        return self.base / "annotations_detectron2_part" / FOLDER_OF_SPLIT[split] / f"{stem}.png"

    def _instances(self, split: str) -> dict[str, list[dict[str, Any]]]:
        """Group the COCO annotations by image, sorted by the image's name."""
        table = f"ade20k_instance_{split}.json"
        folder = FOLDER_OF_SPLIT[split]
        needed = [f"images/{folder}", f"annotations_detectron2_part/{folder}", table]
        require_layout(self.base, needed, self.layout)
        content = read_json(self.base / table)
        stems = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
        by_image: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for annotation in content["annotations"]:
            if not 0 <= annotation["category_id"] < len(self.vocabulary.objects):
                raise DatasetError(
                    f"{self.base / table}: annotation {annotation['id']} has category_id "
                    f"{annotation['category_id']}, expected an object index from 0 to 43."
                )
            by_image[stems[annotation["image_id"]]].append(annotation)
        files = [place(split, stem) for place in (self._image, self._labels) for stem in by_image]
        require_files(files, f"{table} lists it")
        return {stem: by_image[stem] for stem in sorted(by_image)}

    def _read(
        self,
        split: str,
        stem: str,
        instances: Sequence[dict[str, Any]],
        target: Vocabulary,
        cut: bool,
    ) -> LabelledImage:
        """Read an item for the vocabulary ``target``; ``cut`` keeps the labels of its instances only."""
        image = load_image(self._image(split, stem))
        path = self._labels(split, stem)
        raw_parts = load_labels(path)
        check_same_size(image, raw_parts, path)
        ignore = self.vocabulary.ignore_label
        raw_objects = np.full(image.shape[:2], ignore, dtype=np.int32)
        for instance in instances:
            source = f"{self.base.name}, {split} annotation {instance['id']}"
            mask = decode_segmentation(
                instance["segmentation"], image.shape[0], image.shape[1], source
            )
            raw_objects[mask] = instance["category_id"]
        objects = relabel(raw_objects, self.object_table(target), ignore, path)
        parts = relabel(raw_parts, self.part_table(target), ignore, path)
        if cut:
            parts = np.where(raw_objects == ignore, IGNORE, parts)
        return LabelledImage(image, objects, parts)
