"""A COCO file is checked as a whole: what contradicts itself is named with its place, and never scored."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.coco_files import HANDLE, MUG, RIM, SQUARE, Answers, annotation, per_category, write
from helpers.miniature_benchmarks import (
    plain_run_lengths,
    polygon,
    run_lengths,
    write_image,
    write_noise,
)
from helpers.toy_models import write_toy
from PIL import Image

from ovps_core.cli import main
from ovps_core.datasets.coco_categories import ObjectPart
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.segmentations import decode_segmentation, encode_segmentation
from ovps_core.errors import DatasetError, ImageError
from ovps_core.evaluation.folder import evaluate_folder


def test_annotations_of_the_upright_picture_fit_a_photograph_that_is_stored_sideways(tmp_path):
    stored = np.rot90(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif.tobytes())
    images = [{"id": 1, "file_name": "a.png", "width": 80, "height": 60}]
    folder = CocoFolder(write(tmp_path, images=images))
    assert folder.read(folder.images[0]).shape == (60, 80, 3)
    _, categories = per_category(folder)
    assert categories["mug handle"]["mean_iou"] == 1

    images = [{"id": 1, "file_name": "a.png", "width": 60, "height": 80}]
    with pytest.raises(DatasetError, match=r"says 60x80, .* 80x60 pixels after its EXIF turn"):
        CocoFolder(write(tmp_path, images=images))


@pytest.mark.parametrize("size", [(640, 480), (40, 30), (80, 61)])
def test_the_size_in_the_file_is_that_of_the_picture(tmp_path, size):
    images = [{"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}]
    with pytest.raises(DatasetError, match=rf"image 1 \(a\.png\): .*{size[0]}x{size[1]}.*80x60"):
        CocoFolder(write(tmp_path, images=images))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[5, 5]], "1 of the 3 points"),
        ([SQUARE, [5, 5, 9, 9]], "polygon 2 .* has 2 of the 3 points"),
        (SQUARE, "a flat list of numbers"),
        ([SQUARE[i : i + 2] for i in range(0, 8, 2)], "a list of points"),
        ([SQUARE[:-1]], "odd count of numbers, 7"),
        ([[*SQUARE, None, 3]], "other things than finite numbers"),
        ([[*SQUARE, float("nan"), 3]], "other things than finite numbers"),
        ([["1", "2", "3", "4", "5", "6"]], "other things than finite numbers"),
        ([[10, 10, 500, 10, 500, 60]], r"\(500, 60\), outside of the picture of 80x60"),
        ([[0.1, 0.1, 0.4, 0.1, 0.4, 0.4]], "are they normalised"),
        ([[10.1, 10.1, 10.3, 10.1, 10.3, 10.3]], "mark no pixel"),
        ([[-5, -5, -1, -5, -1, -1]], "mark no pixel"),
        ("polygon", "neither|is a str"),
        ({"counts": [1, 2]}, 'no "size"'),
        ({"size": [80, 60], "counts": [4800]}, r"\[80, 60\], but the picture has \[60, 80\]"),
        ({"size": [60, 80], "counts": [10, 10]}, "count 20 pixels"),
        ({"size": [60, 80], "counts": [4810, -10]}, "negative"),
        ({"size": [60, 80], "counts": [4800]}, "mark no pixel"),
        ({"size": [60, 80], "counts": "\u00ff\u00ff"}, "damaged"),
        ({**run_lengths(HANDLE), "counts": run_lengths(HANDLE)["counts"][:-2]}, "damaged|count"),
        ({}, "neither a segmentation nor a mask"),
        ([], "neither a segmentation nor a mask"),
    ],
)
def test_a_malformed_segmentation_is_named_and_can_be_left_out(tmp_path, segmentation, message):
    annotations = [annotation(7, segmentation), annotation(8, category_id=2)]
    write(tmp_path, annotations=annotations)
    with pytest.raises(DatasetError, match=f"annotation 7 of a.png: .*(?:{message})"):
        CocoFolder(tmp_path)
    folder = CocoFolder(tmp_path, skip_broken=True)
    assert [problem.place for problem in folder.problems] == ["annotation 7 of a.png"]
    result, categories = per_category(folder)
    assert (categories["mug handle"]["present"], categories["mug handle"]["absent"]) == (0, 1)
    assert (categories["mug rim"]["present"], categories["mug rim"]["absent"]) == (1, 1)
    assert result.not_scored == 1


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"images": [{"id": 1, "file_name": "a.png"}] * 2}, r"image 1 \(a.png\): the id occurs twice"),
        ({"images": [{"id": n, "file_name": "./a.png"[2 * n - 2:]} for n in (1, 2)]}, "that of image 1 too"),
        ({"images": [{"id": 1, "file_name": "a.png", "width": "60"}]}, "the file says '60'xNone"),
        ({"images": [{"id": 1, "path": "a.png"}]}, "image 1: it has no file_name"),
        ({"images": [{"file_name": "a.png"}]}, "image at position 0: it has no id"),
        ({"images": ["a.png"]}, "image at position 0: it has no id"),
        ({"images": [{"id": [1], "file_name": "a.png"}]}, "it has no id"),
        ({"images": [{"id": "1", "file_name": "a.png"}]}, "image_id 1 is not among the images"),
        ({"categories": [MUG, {**RIM, "id": 1}]}, "category 1: the id occurs twice"),
        ({"categories": [{"object": "mug"}]}, "category at position 0: it has no id"),
        ({"categories": [MUG, {"id": 2, "object": 3}]}, '"object" is 3'),
        ({"categories": [MUG, {"id": 2, "name": "rim"}]}, "category 2 .*--object NAME"),
        ({"annotations": [annotation(7), annotation(7)]}, "annotation 7: the id occurs twice"),
        ({"annotations": [annotation(7, category_id=9)]}, "category_id 9 is not among"),
        ({"annotations": [annotation(7, image_id=None)]}, "image_id None is not among"),
        ({"annotations": [annotation(7, segmentation={}, mask=3)]}, "its mask is 3"),
        ({"annotations": [annotation(7, segmentation={}, mask="m.png")]}, "no image at .*m.png"),
        ({"annotations": [annotation(7, segmentation={}, mask="c.png")]}, r"size \[5, 5\]"),
        ({"annotations": [3]}, "annotation at position 0: it is no JSON object"),
    ],
)  # fmt: skip
def test_broken_entries_are_named_and_can_be_left_out(tmp_path, lists, message):
    write_image(tmp_path / "c.png", np.zeros((5, 5), np.uint8))
    write(tmp_path, **lists)
    with pytest.raises(DatasetError, match=message):
        CocoFolder(tmp_path)
    assert CocoFolder(tmp_path, skip_broken=True).problems


@pytest.mark.parametrize("name", ["a\0.png", f"{'x' * 300}.png", "\ud800.png"])
def test_names_that_no_file_can_have_are_missing_files(tmp_path, name):
    images = [{"id": 1, "file_name": name}, {"id": 2, "file_name": "b.png"}]
    masks = [{"id": 7, "image_id": 2, "category_id": 1, "mask": name}]
    folder = CocoFolder(write(tmp_path, images=images, annotations=masks), skip_broken=True)
    assert [image.name for image in folder.images] == ["b.png"]
    assert "is missing" in folder.problems[0].text and "no image at" in folder.problems[1].text
    assert "".join(map(str, folder.problems)).isprintable()


def test_all_problems_are_listed_and_the_list_is_short(tmp_path):
    annotations = [annotation(n, [[n, n]]) for n in range(100)]
    with pytest.raises(DatasetError, match="has 100 problems") as caught:
        CocoFolder(write(tmp_path, annotations=annotations))
    lines = str(caught.value).splitlines()
    assert len(lines) == 15 and "and 88 more" in lines[-2] and "--skip-broken" in lines[-1]


@pytest.mark.parametrize("content", ["[]", "3", '{"images": {}}', "{", "[" * 100_000])
def test_other_json_is_refused(tmp_path, content):
    (tmp_path / "annotations.json").write_text(content)
    with pytest.raises(DatasetError, match=r"annotations\.json (has no|holds a|cannot be read)"):
        CocoFolder(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_accepted(tmp_path, encoding):
    assert len(CocoFolder(write(tmp_path, encoding=encoding)).images) == 2


def test_names_of_windows_are_read(tmp_path):
    write_noise(tmp_path / "images/default/c.png", 1)
    images = [{"id": 1, "file_name": "default\\c.png"}]
    folder = CocoFolder(write(tmp_path, images=images))
    assert folder.images[0].path == tmp_path / "images/default/c.png"


def test_a_part_that_is_null_is_no_part(tmp_path):
    categories = [{"id": 1, "object": "mug", "part": None}]
    folder = CocoFolder(write(tmp_path, categories=categories))
    assert folder.categories == (ObjectPart("mug", ""),)


def test_names_only_are_parts_of_the_object_that_is_named(tmp_path, capsys):
    categories = [
        {"id": 0, "name": "knives-project", "supercategory": "none"},
        {"id": 1, "name": "knife-handle", "supercategory": "knives-project"},
        {"id": 2, "name": "blade", "supercategory": "knives-project"},
        {"id": 3, "name": "_background_"},
    ]
    annotations = [annotation(1), annotation(2, category_id=3)]
    write(tmp_path, categories=categories, annotations=annotations)
    folder = CocoFolder(tmp_path, object_name="knife")
    assert folder.categories == (ObjectPart("knife", "blade"), ObjectPart("knife", "handle"))
    weights = write_toy("clipseg", tmp_path / "small.safetensors")
    words = ["evaluate", "folder", str(tmp_path), "--model", str(weights), "--backend", "torch"]
    assert main([*words, "--object", "knife"]) == 0
    assert "knife handle" in capsys.readouterr().out


def test_names_that_are_spelt_alike_are_one_category(tmp_path):
    spelt = [{**MUG, "id": 2, "object": "Mug "}, {**MUG, "id": 3, "part": "HANDLE"}]
    spelt += [{"id": 4, "object": "wine_glass", "part": ""}, {"id": 5, "object": "Wine glass"}]
    annotations = [annotation(7), annotation(8, polygon(40, 10, 60, 30), category_id=3)]
    folder = CocoFolder(write(tmp_path, categories=[MUG, *spelt], annotations=annotations))
    assert [category.name for category in folder.categories] == ["mug handle", "wine_glass"]
    (mask,) = folder.masks(folder.images[0], 60, 80).values()
    assert mask.sum() == 800
    result, _ = per_category(folder)
    assert result.queries.metrics().present == 1


@pytest.mark.parametrize("pictures", ["images", "images/train"])
def test_the_layout_that_cvat_exports_is_read(tmp_path, pictures):
    write(tmp_path)
    for folder in ("annotations", pictures):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (tmp_path / name).rename(tmp_path / pictures / name)
    table = tmp_path / "annotations" / "instances_train.json"
    (tmp_path / "annotations.json").rename(table)
    folder = CocoFolder(table)
    assert [image.path for image in folder.images] == [
        tmp_path / pictures / name for name in ("a.png", "b.png")
    ]
    with pytest.raises(
        DatasetError, match=r"name it instead of the folder: .*instances_train\.json"
    ):
        CocoFolder(tmp_path)


def test_a_folder_called_annotations_hides_neither_pictures_nor_masks(tmp_path):
    write(tmp_path, annotations=[annotation(7, {}, mask="masks/a.png")])
    write_image(tmp_path / "masks/a.png", np.eye(60, 80, dtype=np.uint8))
    for folder in ("annotations", "images"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a.png").rename(tmp_path / "images/a.png")
    folder = CocoFolder(tmp_path)
    (mask,) = folder.masks(folder.images[0], 60, 80).values()
    assert mask.sum() == 60


def test_a_coco_file_of_another_name_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "annotations.json").rename(tmp_path / "result.json")
    with pytest.raises(DatasetError, match=r"name it instead of the folder: .*result\.json"):
        CocoFolder(tmp_path)
    assert len(CocoFolder(tmp_path / "result.json").images) == 2


def test_an_evaluation_that_scores_nothing_fails(tmp_path, capsys):
    images = [{"id": 1, "file_name": "a.png", "not_exhaustive_category_ids": [1]}]
    write(tmp_path, images=images, categories=[MUG], annotations=[annotation(7)])
    weights = write_toy("compact", tmp_path / "m.safetensors")
    command = ["evaluate", "folder", str(tmp_path), "--model", str(weights), "--backend", "torch"]
    assert main(command) == 1
    assert "nothing was scored" in capsys.readouterr().err


def test_a_category_that_is_absent_and_annotated_is_a_contradiction(tmp_path):
    images = [{"id": 1, "file_name": "a.png", "neg_category_ids": [1, 5]}]
    with pytest.raises(DatasetError) as caught:
        CocoFolder(write(tmp_path, images=images))
    assert "'mug handle' is in neg_category_ids, but it has an annotation" in str(caught.value)
    assert "neg_category_ids has 5, which is not among the categories" in str(caught.value)


def test_a_damaged_photograph_is_named_or_left_out(tmp_path, capsys):
    write(tmp_path)
    photo = tmp_path / "a.png"
    photo.write_bytes(photo.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"a\.png cannot be read"):
        evaluate_folder(CocoFolder(tmp_path), Answers(HANDLE))
    result, _ = per_category(CocoFolder(tmp_path, skip_broken=True))
    assert result.images == 1 and [p.place for p in result.problems] == ["image a.png"]
    with pytest.raises(DatasetError, match=r"image a\.png"):
        CocoFolder(tmp_path).leave_out_damaged()
    folder = CocoFolder(tmp_path, skip_broken=True)
    folder.leave_out_damaged()
    assert [image.name for image in folder.images] == ["b.png"]
    weights = write_toy("clipseg", tmp_path / "small.safetensors")
    words = ["evaluate", "folder", str(tmp_path), "--model", str(weights), "--backend", "torch"]
    figures = tmp_path / "figures.json"
    assert main([*words, "--skip-broken", "--json", str(figures)]) == 0
    assert "Left out, 1:" in capsys.readouterr().out
    assert json.loads(figures.read_text())["left_out"][0]["place"] == "image a.png"


@pytest.mark.parametrize("mark", [{"pseudo_label": True}, {"score": 0.9}])
def test_answers_of_a_model_are_no_truth_unless_it_is_meant(tmp_path, mark, capsys):
    write(tmp_path, annotations=[annotation(1), annotation(2, category_id=2, **mark)])
    with pytest.raises(
        DatasetError, match=r"1 of 2 annotations are pseudo-labels.*--pseudo-labels"
    ):
        CocoFolder(tmp_path)
    weights = write_toy("clipseg", tmp_path / "small.safetensors")
    words = ["evaluate", "folder", str(tmp_path), "--model", str(weights), "--backend", "torch"]
    assert main(words) == 1
    assert main([*words, "--pseudo-labels"]) == 0
    assert "agreement with that model, not accuracy" in capsys.readouterr().out


def test_a_folder_without_labels_says_so(tmp_path):
    with pytest.raises(DatasetError, match="label the images first"):
        evaluate_folder(CocoFolder(write(tmp_path, categories=[], annotations=[])), Answers(HANDLE))


def test_run_lengths_are_decoded_as_pycocotools_encodes_them():
    random = np.random.default_rng(0)
    for share in (0.01, 0.5, 0.99):
        mask = random.random((60, 80)) < share
        for segmentation in (encode_segmentation(mask), plain_run_lengths(mask)):
            np.testing.assert_array_equal(decode_segmentation(segmentation, 60, 80, "m"), mask)
