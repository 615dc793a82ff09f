"""COCO files of instances, of panoptic segments and of boxes alone give objects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovps_core.datasets.coco_objects import CocoObjects
from ovps_core.errors import DatasetError

CATEGORIES = [
    {"id": 7, "name": "mug", "isthing": 1},
    {"id": 9, "name": "wall-other-merged", "isthing": 0},
]
IMAGES = [{"id": 1, "file_name": "a.png", "width": 8, "height": 6}]


def write(path: Path, annotations: list[dict[str, object]], images: str = "") -> Path:
    """A COCO file of one grey picture, 6 x 8."""
    folder = path.parent / images
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8, 3), 128, np.uint8)).save(folder / "a.png")
    content = {"images": IMAGES, "annotations": annotations, "categories": CATEGORIES}
    path.write_text(json.dumps(content))
    return path


def test_instances_with_polygons_are_objects_with_masks(tmp_path: Path) -> None:
    square = [2, 1, 6, 1, 6, 4, 2, 4]
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 7, "segmentation": [square], "bbox": [0, 0, 1, 1]},
        {"id": 2, "image_id": 1, "category_id": 7, "segmentation": [square], "iscrowd": 1},
    ]
    data = CocoObjects(write(tmp_path / "instances.json", annotations))
    assert data.things == ("mug",) and data.stuff == ("wall-other-merged",) and data.has_masks
    (sample,) = [data.read(index) for index in range(len(data))]
    assert sample.labels.tolist() == [0] and sample.boxes.tolist() == [[2, 1, 6, 4]]
    assert sample.masks is not None and sample.masks.sum() == 12


def test_boxes_alone_are_objects_without_masks(tmp_path: Path) -> None:
    annotations = [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 2]}]
    data = CocoObjects(write(tmp_path / "boxes.json", annotations, "boxes"))
    assert not data.has_masks
    sample = data.read(0)
    assert sample.masks is None and sample.boxes.tolist() == [[1, 2, 4, 4]]


def test_panoptic_segments_are_objects_with_masks(tmp_path: Path) -> None:
    segments = [
        {"id": 300, "category_id": 9},
        {"id": 5, "category_id": 7},
        {"id": 6, "category_id": 7, "iscrowd": 1},
    ]
    ids = np.full((6, 8), 300)
    ids[2:4, 3:5], ids[0, 0] = 5, 6
    (tmp_path / "annotations" / "panoptic_val").mkdir(parents=True)
    coloured = np.stack([ids % 256, ids // 256, 0 * ids], -1).astype(np.uint8)
    Image.fromarray(coloured).save(tmp_path / "annotations" / "panoptic_val" / "a.png")
    annotation = {"image_id": 1, "file_name": "a.png", "segments_info": segments}
    path = write(tmp_path / "annotations" / "panoptic_val.json", [annotation], "../val")
    data = CocoObjects(path)
    sample = data.read(0)
    assert sample.labels.tolist() == [1, 0] and data.has_masks
    assert sample.boxes.tolist() == [[0, 0, 8, 6], [3, 2, 5, 4]]
    assert sample.masks is not None and sample.masks.sum((1, 2)).tolist() == [43, 4]


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    box = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 2, 2]}
    path = write(tmp_path / "boxes.json", [box])
    with pytest.raises(DatasetError, match="category_id 3"):
        CocoObjects(path).read(0)
    with pytest.raises(DatasetError, match="neither a segmentation nor a bbox"):
        CocoObjects(write(path, [{**box, "category_id": 7, "bbox": []}])).read(0)
    with pytest.raises(DatasetError, match=r"a\.png, which is not in"):
        CocoObjects(path, images=tmp_path / "elsewhere")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DatasetError, match="annotations"):
        CocoObjects(tmp_path / "bad.json")
    with pytest.raises(DatasetError, match="has no 'image_id'"):
        CocoObjects(write(path, [{"id": 1}]))
    with pytest.raises(DatasetError, match="not of COCO's form"):
        CocoObjects(write(path, [{**box, "category_id": 7, "bbox": [0, 0, "wide", 2]}])).read(0)
