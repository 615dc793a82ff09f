"""Absent, incomplete and left-out parts of a COCO file are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.coco_files import HANDLE, MUG, RIM, annotation, per_category, write
from helpers.miniature_benchmarks import polygon

from ovps_core.datasets.coco_categories import ObjectPart
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import DatasetError
from ovps_core.evaluation.result_tables import folder_notes


def test_absence_follows_lvis_where_the_file_does(tmp_path):
    images = [
        {"id": 1, "file_name": "a.png", "neg_category_ids": [2], "not_exhaustive_category_ids": [1]},
        {"id": 2, "file_name": "b.png", "neg_category_ids": [1]},
    ]  # fmt: skip
    result, categories = per_category(CocoFolder(write(tmp_path, images=images)))
    counts = {name: (c["present"], c["absent"]) for name, c in categories.items()}
    assert counts == {"mug handle": (0, 1), "mug rim": (0, 1)}
    assert result.not_scored == result.as_dict()["not_scored"] == 2


def test_the_region_of_a_crowd_is_no_mask_and_its_category_is_not_scored(tmp_path):
    images = [{"id": 1, "file_name": "a.png", "not_exhaustive_category_ids": []}]
    categories = [MUG, RIM, {"id": 3, "name": "background"}]
    crowd = {"segmentation": [polygon(40, 10, 60, 30)[0]], "iscrowd": 1}
    annotations = [
        annotation(1),
        {**annotation(2), **crowd, "pseudo_label": True},
        annotation(3, category_id=2, iscrowd=0),
        {**annotation(4, category_id=3), **crowd},
        annotation(5, [], category_id=1, iscrowd=1),
    ]
    folder = CocoFolder(
        write(tmp_path, images=images, categories=categories, annotations=annotations)
    )
    (image,) = folder.images
    handle, rim = ObjectPart("mug", "handle"), ObjectPart("mug", "rim")
    np.testing.assert_array_equal(folder.masks(image, 60, 80)[handle], HANDLE)
    assert len(list(folder.instances(image, 60, 80))) == 2
    assert not folder.background(image, 60, 80).any()
    assert folder.exhaustive(image) == {rim} and folder.scored(image) == (rim,)
    assert not image.is_intact
    result, counts = per_category(folder)
    assert (counts["mug handle"]["present"], counts["mug handle"]["absent"]) == (0, 0)
    assert counts["mug rim"]["present"] == 1 and result.not_scored == 1


@pytest.mark.parametrize("no", [0, False, "0", None, 0.0])
@pytest.mark.parametrize("yes", [1, True, "1"])
def test_iscrowd_may_be_a_number_a_truth_value_or_a_text(tmp_path, no, yes):
    annotations = [annotation(1, iscrowd=no), annotation(2, category_id=2, iscrowd=yes)]
    folder = CocoFolder(write(tmp_path, annotations=annotations))
    assert [each["id"] for each in folder.images[0].annotations] == [1] and folder.crowds == 1
    result, _ = per_category(folder)
    assert "1 annotations are crowd regions" in " ".join(folder_notes(result))


@pytest.mark.parametrize("value", ["yes", 2, "", [1], -1])
def test_another_iscrowd_is_named(tmp_path, value):
    write(tmp_path, annotations=[annotation(7, iscrowd=value)])
    with pytest.raises(DatasetError, match=r"annotation 7 of a\.png: its iscrowd is .*0 or 1"):
        CocoFolder(tmp_path)


@pytest.mark.parametrize(
    ("keys", "not_scored"),
    [
        ({"category_id": "1"}, 2),  # it may be any category
        ({"category_id": None}, 2),
        ({"image_id": "1"}, 2),  # a handle may be in any picture without annotations
        ({"image_id": "1", "category_id": "1"}, 4),
        ({"image_id": 9}, 2),
    ],
)
def test_what_is_left_out_makes_no_category_absent(tmp_path, keys, not_scored):
    folder = CocoFolder(write(tmp_path, annotations=[annotation(7, **keys)]), skip_broken=True)
    result, categories = per_category(folder)
    assert len(folder.problems) == 1 and result.not_scored == not_scored
    assert sum(each["absent"] for each in categories.values()) == 4 - not_scored


def test_a_picture_with_annotations_does_not_lack_one_of_no_picture(tmp_path):
    annotations = [annotation(7), annotation(8, image_id="1", category_id=2)]
    folder = CocoFolder(write(tmp_path, annotations=annotations), skip_broken=True)
    assert [image.is_intact for image in folder.images] == [True, False]
    assert [[c.part for c in folder.scored(image)] for image in folder.images] == [
        ["handle", "rim"],
        ["handle"],
    ]
