"""Miniature data sets of objects in the published folders, with two pictures each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ovps_core.datasets.labelled_objects import LabelledObjects, ObjectDataset
from ovps_core.datasets.segmentations import encode_segmentation
from ovps_core.language.object_names import ObjectNames
from ovps_core.structures.boxes import Box, ObjectBox
from ovps_core.structures.masks import ObjectMask, ObjectMasks

HEIGHT, WIDTH = 48, 64
CATEGORIES: list[dict[str, Any]] = [
    {"id": 1, "name": "mug", "isthing": 1},
    {"id": 5, "name": "kitchen_knife", "isthing": 1},
    {"id": 9, "name": "wall-other-merged", "isthing": 0},
]
MUG, KNIFE = (4, 6, 24, 30), (30, 8, 60, 20)
"""Boxes (x1, y1, x2, y2) of the objects; both pictures show a mug, the first a knife too."""
OBJECTS = {1: [(1, MUG), (5, KNIFE)], 2: [(1, MUG)]}
"""Category and box of the objects of each image."""


class Truth:
    """A model that knows the ground truth of a data set: it answers with exactly that."""

    name = "truth"
    max_instances = 100

    def __init__(self, dataset: ObjectDataset) -> None:
        self.dataset = dataset
        samples = [dataset.read(index) for index in range(len(dataset))]
        self.samples = {sample.image.tobytes(): sample for sample in samples}

    def panoptic(
        self, image: np.ndarray, names: ObjectNames, *, crowds: bool = False
    ) -> ObjectMasks:
        sample = self.samples[image.tobytes()]
        assert sample.masks is not None
        objects = [
            self._object(row, names, sample, mask)
            for row, mask in enumerate(sample.masks)
            if crowds or not sample.crowds[row]
        ]
        return ObjectMasks(*image.shape[:2], names.all, tuple(objects), self.name)

    def semantic(self, image: np.ndarray, names: ObjectNames) -> ObjectMasks:
        return self.panoptic(image, names, crowds=True)

    def detect(self, image: np.ndarray, names: ObjectNames, **_: object) -> ObjectMasks:
        found = self.panoptic(image, names)
        things = tuple(each for each in found.objects if each.is_thing)
        return ObjectMasks(found.height, found.width, found.names, things, self.name)

    def detect_boxes(
        self, image: np.ndarray, names: ObjectNames, **_: object
    ) -> tuple[ObjectBox, ...]:
        sample = self.samples[image.tobytes()]
        rows = zip(sample.labels.tolist(), sample.boxes.tolist(), strict=True)
        return tuple(ObjectBox(names.all[label], 0.9, tuple(box)) for label, box in rows)

    def decode_masks(
        self, image: np.ndarray, boxes: list[list[float]], names: list[str]
    ) -> ObjectMasks:
        found = self.detect(image, self.dataset.queries).objects
        mask_of_box = {each.predicted_box: each for each in found}
        objects = [replace(mask_of_box[tuple(box)], id=row) for row, box in enumerate(boxes, 1)]
        assert [each.name for each in objects] == names
        return ObjectMasks(*image.shape[:2], tuple(names), tuple(objects), self.name)

    @staticmethod
    def _object(
        row: int, names: ObjectNames, sample: LabelledObjects, mask: np.ndarray
    ) -> ObjectMask:
        label, box = int(sample.labels[row]), Box.of_mask(mask)
        x1, y1, x2, y2 = map(float, sample.boxes[row])
        return ObjectMask(
            row + 1,
            names.all[label],
            0.9,
            box,
            mask[box.slices],
            predicted_box=(x1, y1, x2, y2),
            is_thing=label < len(names.things),
        )


def write_picture(path: Path, number: int) -> None:
    """A picture with the objects of image ``number`` in colour before noise."""
    pixels = np.random.default_rng(number).integers(90, 160, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for category, (x1, y1, x2, y2) in OBJECTS[number]:
        pixels[y1:y2, x1:x2] = (200, 30, 40) if category == 1 else (30, 60, 220)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_coco(folder: Path) -> Path:
    """COCO val2017: instances, one of them a crowd, and panoptic segments."""
    images, instances, segments = [], [], []
    for number, objects in OBJECTS.items():
        write_picture(folder / "val2017" / f"{number:012d}.jpg", number)
        size = {"width": WIDTH, "height": HEIGHT}
        images.append({"id": number, "file_name": f"{number:012d}.jpg", **size})
        ids = np.full((HEIGHT, WIDTH), 1000)
        info = [{"id": 1000, "category_id": 9, "iscrowd": 0}]
        for row, (category, box) in enumerate(objects, 1):
            x1, y1, x2, y2 = box
            ids[y1:y2, x1:x2] = 256 * row + 7
            info.append({"id": 256 * row + 7, "category_id": category, "iscrowd": 0})
            instances.append(annotation(len(instances) + 1, number, category, box))
        crowd = (40, 30, 64, 48)
        ids[30:48, 40:64] = 70000
        info.append({"id": 70000, "category_id": 5, "iscrowd": 1})
        instances.append({**annotation(len(instances) + 1, number, 5, crowd), "iscrowd": 1})
        png = np.stack([ids % 256, ids // 256 % 256, ids // 256**2], -1).astype(np.uint8)
        path = folder / "annotations" / "panoptic_val2017" / f"{number:012d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(png).save(path)
        segments.append({"image_id": number, "file_name": path.name, "segments_info": info})
    things = [each for each in CATEGORIES if each["isthing"]]
    write(folder / "annotations" / "instances_val2017.json", images, instances, things)
    write(folder / "annotations" / "panoptic_val2017.json", images, segments, CATEGORIES)
    return folder


def write_lvis(folder: Path) -> Path:
    """LVIS: images by address, in which a knife is absent, or some mugs are not annotated."""
    images, annotations = [], []
    for (number, objects), split in zip(OBJECTS.items(), ("val2017", "train2017"), strict=True):
        write_picture(folder / split / f"{number:012d}.jpg", number)
        images.append(
            {
                "id": number,
                "coco_url": f"http://images.cocodataset.org/{split}/{number:012d}.jpg",
                "neg_category_ids": [],
                "not_exhaustive_category_ids": [1] if number == 2 else [],
            }
        )
        for category, box in objects:
            annotations.append(annotation(len(annotations) + 1, number, category, box))
    categories = [
        {"id": 1, "name": "mug", "frequency": "f"},
        {"id": 5, "name": "knife_(for_bread)", "frequency": "r"},
    ]
    write(folder / "annotations" / "lvis_v1_val.json", images, annotations, categories)
    return folder


def write_objects365(folder: Path) -> Path:
    """Objects365: boxes only, pictures in patches; one that is listed was never published."""
    images, annotations = [], []
    for number, objects in OBJECTS.items():
        name = f"patch{number}/objects365_v2_{number:08d}.jpg"
        write_picture(folder / "val" / name, number)
        images.append({"id": number, "file_name": f"images/v2/{name}"})
        for category, box in objects:
            entry = annotation(len(annotations) + 1, number, category, box)
            del entry["segmentation"]
            annotations.append(entry)
    images.append({"id": 3, "file_name": "images/v2/patch16/objects365_v2_00908726.jpg"})
    categories = [{"id": 1, "name": "Cup/Mug"}, {"id": 5, "name": "Knife"}]
    write(folder / "annotations" / "zhiyuan_objv2_val.json", images, annotations, categories)
    return folder


def write_ade20k(folder: Path) -> Path:
    """ADEChallengeData2016: wall 1, bed 8 (the first thing), screens that share a synonym."""
    names = {1: "wall", 8: "bed ", 131: "screen, silver screen", 142: "crt screen, screen"}
    lines = ["Idx\tRatio\tTrain\tVal\tName"]
    lines += [f"{n}\t0.1\t10\t2\t{names.get(n, f'class {n}, synonym')}" for n in range(1, 151)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "objectInfo150.txt").write_text("\n".join(lines) + "\n")
    for number, objects in OBJECTS.items():
        stem = f"ADE_val_{number:08d}"
        write_picture(folder / "images" / "validation" / f"{stem}.jpg", number)
        classes = np.zeros((HEIGHT, WIDTH), np.uint8)
        classes[:40] = 1
        instances = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for row, (category, (x1, y1, x2, y2)) in enumerate(objects, 1):
            classes[y1:y2, x1:x2] = 8 if category == 1 else 131
            instances[y1:y2, x1:x2, :2] = (1 if category == 1 else 85, row)
        for kind, pixels in (("annotations", classes), ("annotations_instance", instances)):
            path = folder / kind / "validation" / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


def annotation(
    number: int, image: int, category: int, box: tuple[int, int, int, int]
) -> dict[str, Any]:
    """An instance whose mask fills its box."""
    x1, y1, x2, y2 = box
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y1:y2, x1:x2] = True
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": int(mask.sum()),
        "segmentation": encode_segmentation(mask),
        "iscrowd": 0,
    }


def write(path: Path, images: list, annotations: list, categories: list) -> None:
    """A COCO file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
