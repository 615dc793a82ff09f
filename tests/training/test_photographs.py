"""Labelled photographs as training data of the compact model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.losses.partial_labels import absent_class_loss
from ovps_core.synthetic.settings import IGNORED

pytest.importorskip("lightning")
from ovps_core.segmenter import PartSegmenter
from training.compact.photographs import (
    UNCERTAIN,
    PastedObjects,
    PhotographCrops,
    photographs_to_score,
    read_photographs,
)
from training.families import load_recipe
from training.run import DataSources
from training.train_model import train_model

OBJECT_PARTS = [("mug", "body"), ("hammer", "handle"), ("hammer", "head")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One photograph of a hammer: handle and head are labelled, and another hammer's head may be missing."""
    picture = np.full((120, 160, 3), 200, np.uint8)
    picture[50:60, 20:100] = (40, 90, 160)
    picture[35:75, 100:120] = 60
    cv2.imwrite(str(tmp_path / "hammer.png"), picture)
    handle = [[20, 50, 100, 50, 100, 60, 20, 60]]
    head = [[100, 35, 120, 35, 120, 75, 100, 75]]
    content = {
        "images": [
            {
                "id": 1,
                "file_name": "hammer.png",
                "width": 160,
                "height": 120,
                "not_exhaustive_category_ids": [2],
            }
        ],
        "categories": [
            {"id": 1, "object": "hammer", "part": "handle"},
            {"id": 2, "object": "hammer", "part": "head"},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "instance": 1, "segmentation": handle},
            {"id": 2, "image_id": 1, "category_id": 2, "instance": 1, "segmentation": head},
        ],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return tmp_path


def test_labels_are_partial(folder: Path) -> None:
    (photograph,) = read_photographs(folder, OBJECT_PARTS)
    assert photograph.ids[55, 60] == 2
    assert photograph.ids[40, 110] == 3
    assert photograph.ids[10, 10] == IGNORED
    assert photograph.ids[48, 60] == UNCERTAIN  # an outline drawn by hand may be off by that much
    # every handle is labelled; of the heads this is not known, of mugs nothing is
    assert np.flatnonzero(photograph.absent).tolist() == [2]
    (cutout,) = photograph.cutouts
    assert cutout[55, 60] == cutout[40, 110] == 1


@pytest.mark.parametrize("backwards", [False, True])
def test_a_part_keeps_its_label_in_any_order_of_the_file(folder: Path, backwards: bool) -> None:
    file = folder / "annotations.json"
    content = json.loads(file.read_text())
    content["categories"] += [
        {"id": 3, "object": "hammer", "part": ""},
        {"id": 4, "object": "hammer", "part": "sticker"},
    ]
    whole = [[20, 30, 130, 30, 130, 80, 20, 80]]
    hole = [[104, 50, 112, 50, 112, 58, 104, 58]]  # the handle's end inside the head
    sticker = [[40, 52, 50, 52, 50, 58, 40, 58]]
    for number, (category, outline) in enumerate(((3, whole), (1, hole), (4, sticker)), start=3):
        entry = {"id": number, "image_id": 1, "category_id": category, "instance": 1}
        content["annotations"].append({**entry, "segmentation": outline})
    if backwards:
        content["annotations"].reverse()
    file.write_text(json.dumps(content))
    (photograph,) = read_photographs(folder, OBJECT_PARTS)
    assert photograph.ids[55, 60] == 2, "the handle, which the whole hammer covers"
    assert photograph.ids[40, 110] == 3
    assert photograph.ids[54, 108] == 2, "the small mask lies on the large one"
    assert photograph.ids[70, 40] == UNCERTAIN, "of the hammer, but of no part"
    assert photograph.ids[55, 45] == UNCERTAIN, "a part that the model does not know"


def content_with_mugs(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The COCO file and its content, with a category of which there is no mask."""
    file = folder / "annotations.json"
    content = json.loads(file.read_text())
    content["categories"].append({"id": 3, "object": "mug", "part": "body"})
    return file, content


def test_what_a_photograph_is_known_not_to_show_is_absent_from_its_unlabelled_pixels(
    folder: Path,
) -> None:
    file, content = content_with_mugs(folder)
    content["images"][0]["neg_category_ids"] = [3]
    file.write_text(json.dumps(content))
    (photograph,) = read_photographs(folder, OBJECT_PARTS)
    assert np.flatnonzero(photograph.absent).tolist() == [1, 2]


def test_a_photograph_is_scored_whole_and_for_what_an_evaluation_asks(folder: Path) -> None:
    source = CocoFolder(folder)
    (photograph,) = photographs_to_score(source, OBJECT_PARTS, 9)
    asked = {(each.object, each.part) for each in source.scored(source.images[0])}
    lacking = {OBJECT_PARTS[i - 1] for i in np.flatnonzero(photograph.absent)}
    assert lacking == asked == {("hammer", "handle")}, "heads may be missing"
    rgb, ids, _ = PhotographCrops([photograph], 80, augment=False)[0]
    assert ids[36, 30] == 2 and ids[36, 55] == 3
    assert rgb[:, 36, 30].tolist() == photograph.rgb[54, 60].tolist()


def test_only_the_absence_of_what_is_taught_is_learned(folder: Path) -> None:
    for taught, absent in ((), [2]), (("mug",), []), (("hammer", "mug"), [2]):
        (photograph,) = read_photographs(folder, OBJECT_PARTS, taught=taught)
        assert np.flatnonzero(photograph.absent).tolist() == absent


def test_a_plain_coco_file_is_complete_as_in_evaluation_unless_a_model_made_it(
    folder: Path,
) -> None:
    file, content = content_with_mugs(folder)
    del content["images"][0]["not_exhaustive_category_ids"]
    file.write_text(json.dumps(content))
    (photograph,) = read_photographs(folder, OBJECT_PARTS)
    assert np.flatnonzero(photograph.absent).tolist() == [1, 2, 3]
    content["annotations"][0]["pseudo_label"] = True
    file.write_text(json.dumps(content))
    (image,) = CocoFolder(folder, pseudo_labels=True).images
    assert not CocoFolder(folder, pseudo_labels=True).exhaustive(image)


def test_a_crop_of_a_photograph_keeps_picture_and_labels_together(folder: Path) -> None:
    crops = PhotographCrops(read_photographs(folder, OBJECT_PARTS), 96)
    torch.manual_seed(0)
    for _ in range(20):
        rgb, ids, absent = crops[0]
        assert rgb.shape == (3, 96, 96)
        assert ids.shape == (96, 96)
        assert set(ids.unique().tolist()) <= {2, 3, UNCERTAIN, IGNORED}
        assert absent[2]


def test_in_a_mirrored_crop_left_parts_are_right_ones(folder: Path) -> None:
    file = folder / "annotations.json"
    content = json.loads(file.read_text())
    for category, name in zip(content["categories"], ("left grip", "right grip"), strict=True):
        category["part"] = name
    file.write_text(json.dumps(content))
    sides = [("hammer", "left grip"), ("hammer", "right grip"), ("hammer", "left cap")]
    (photograph,) = read_photographs(folder, sides)
    assert photograph.mirrored_ids[:5].tolist() == [0, 2, 1, UNCERTAIN, 4]
    crops = PhotographCrops([photograph], 96)
    torch.manual_seed(0)
    exhaustive = set()
    for _ in range(30):
        rgb, ids, absent = crops[0]
        # Every left grip is labelled, and in a mirror every right one.
        (known,) = np.flatnonzero(absent)
        exhaustive.add(int(known))
        brown = rgb[2] > rgb[0] + 30  # the long grip, which is on the left side of the file
        if (brown & (ids < UNCERTAIN)).any():
            assert set(ids[brown & (ids < UNCERTAIN)].unique().tolist()) == {int(known)}
    assert exhaustive == {1, 2}


def test_pasted_objects_are_labelled_completely(folder: Path) -> None:
    def background(
        size: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return np.full((size, size, 3), 30, np.uint8), np.zeros((size, size), np.uint8)

    pasted = PastedObjects(read_photographs(folder, OBJECT_PARTS), 96, background)
    torch.manual_seed(0)
    seen: set[int] = set()
    for _ in range(20):
        _, ids, absent = pasted[0]
        seen |= set(ids.unique().tolist())
        assert not absent.any()
    assert {0, 2, 3} <= seen <= {0, 2, 3, UNCERTAIN, IGNORED}


def test_absent_classes_cost_where_the_content_is_unknown() -> None:
    scores = torch.zeros(1, 3, 1, 2)
    scores[0, 1] = 4.0  # class 1 everywhere
    unknown = torch.tensor([[[True, False]]])
    absent = torch.tensor([[False, True, False]])
    assert absent_class_loss(scores.log_softmax(1), unknown, absent) > 3
    others = torch.tensor([[False, False, True]])
    assert absent_class_loss(scores.log_softmax(1), unknown, others) < 0.1
    assert absent_class_loss(scores.log_softmax(1), ~unknown & unknown, absent) == 0
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    assert absent_class_loss(scores.log_softmax(1), unknown, nothing) == 0


def test_a_model_is_fine_tuned_on_photographs_alone(folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe(
        "finetune", ["optim.minutes=0.05", "optim.batch=2", "optim.phases=[[1, 64, 4]]"]
    )
    train_model(recipe, DataSources((folder,)), tmp_path / "run")
    segmenter = PartSegmenter.from_pretrained(tmp_path / "run" / "model.safetensors")
    assert ("hammer", "head") in segmenter.model.config.object_parts
