"""A folder of labelled photographs: every present and absent query counted as a person would count it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.miniature_benchmarks import (
    box,
    plain_run_lengths,
    polygon,
    run_lengths,
    write_image,
    write_json,
    write_noise,
)
from helpers.toy_models import write_toy

from ovps_core.cli import main
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import DatasetError, QueryError
from ovps_core.evaluation.folder import evaluate_folder
from ovps_core.evaluation.query_metrics import THRESHOLDS, QueryAccumulator, iou_curve
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import PartQuery

HANDLE, RIM, KNIFE = box(10, 10, 30, 30), box(35, 10, 45, 50), box(5, 40, 30, 70)


@pytest.fixture
def photos(tmp_path):
    """Two photographs: a mug's handle (two annotations) and rim on one, a whole knife on the other."""
    for number, name in enumerate(("a.png", "sub/b.png")):
        write_noise(tmp_path / name, number)
    write_image(tmp_path / "masks/knife.png", (KNIFE * 255).astype(np.uint8))
    annotations = [
        {"id": 1, "image_id": 10, "category_id": 1, "segmentation": polygon(10, 10, 20, 30)},
        {
            "id": 2,
            "image_id": 10,
            "category_id": 1,
            "segmentation": run_lengths(box(20, 10, 30, 30)),
        },
        {"id": 3, "image_id": 10, "category_id": 2, "segmentation": plain_run_lengths(RIM)},
        {"id": 4, "image_id": 20, "category_id": 3, "mask": "masks/knife.png"},
    ]
    categories = [
        {"id": 1, "object": "mug", "part": "handle"},
        {"id": 2, "object": "", "part": "rim"},
        {"id": 3, "object": "knife", "part": ""},
    ]
    images = [{"id": 10, "file_name": "a.png"}, {"id": 20, "file_name": "sub/b.png"}]
    write_json(
        tmp_path / "annotations.json",
        {"images": images, "annotations": annotations, "categories": categories},
    )
    return tmp_path


class Answers:
    """Answers every query with the same mask, whatever the picture; the rim with nothing."""

    def __init__(self, mask):
        self.mask = mask

    name = "answers"
    finds_objects = False

    def encode_queries(self, queries):
        return SimpleNamespace(queries=tuple(queries), refused=())

    def query_maps(self, images, queries):
        silence = np.full(self.mask.shape, -2, np.float32)
        answer = np.where(self.mask, 2, silence)
        return np.stack([silence if query.part == "rim" else answer for query in queries.queries])[
            None
        ]


def test_polygons_run_lengths_and_mask_files_are_read(photos):
    folder = CocoFolder(photos)
    first, second = (folder.masks(image, 60, 80) for image in folder.images)
    assert {category.name for category in folder.categories} == {"mug handle", "rim", "knife"}
    by_name = {category.name: mask for masks in (first, second) for category, mask in masks.items()}
    for name, expected in (("mug handle", HANDLE), ("rim", RIM), ("knife", KNIFE)):
        np.testing.assert_array_equal(by_name[name], expected)


def test_images_may_be_in_a_folder_of_their_own(photos):
    (photos / "images").mkdir()
    (photos / "a.png").rename(photos / "images/a.png")
    folder = CocoFolder(photos)
    assert folder.read(folder.images[0]).shape == (60, 80, 3)


def test_present_and_absent_queries_are_counted(photos):
    result = evaluate_folder(CocoFolder(photos), Answers(box(10, 10, 30, 20)))
    content = result.as_dict()
    handle, rim, knife = (content["per_category"][name] for name in ("mug handle", "rim", "knife"))
    assert (content["images"], content["present"], content["absent"]) == (2, 3, 3)
    assert handle["mean_iou"] == handle["cumulative_iou"] == 0.5
    assert (handle["precision_50"], handle["false_alarm_rate"]) == (1, 1)
    assert (rim["mean_iou"], rim["false_alarm_rate"]) == (0, 0)
    assert (knife["object"], knife["part"], knife["mean_iou"]) == ("knife", "", 0)
    union = 400 + RIM.sum() + KNIFE.sum() + 200
    assert content["mean_iou"] == pytest.approx(0.5 / 3)
    assert content["cumulative_iou"] == pytest.approx(200 / union)
    assert content["precision_50"] == pytest.approx(1 / 3)
    assert content["false_alarm_rate"] == pytest.approx(2 / 3)
    assert handle["best_threshold_iou"] == 0.5
    json.dumps(content, allow_nan=False)


def test_the_network_sees_every_photograph_once(photos, tmp_path, monkeypatch):
    segmenter = PartSegmenter.from_pretrained(write_toy("clipseg", tmp_path / "s.safetensors"))
    run, seen = segmenter.engine.run, []
    monkeypatch.setattr(segmenter.engine, "run", lambda *given: seen.append(1) or run(*given))
    assert evaluate_folder(CocoFolder(photos), segmenter).images == len(seen) == 2


def test_a_category_that_is_read_as_a_choice_or_as_several_parts_is_scored_as_itself(photos):
    """With objects, "left mug" is the left one of the mugs, and "mug parts" are its handle and its rim."""

    class Reader(Answers):
        def encode_queries(self, queries):
            (left,) = (query for query in queries if query.object == "left mug")
            (parts,) = (query for query in queries if query.part == "part")
            read = [query for query in queries if query not in (left, parts)]
            read += [replace(left, object="mug", which="left", given=left)]
            read += [replace(parts, part=part, given=parts) for part in ("handle", "rim")]
            return super().encode_queries(read)

    content = json.loads((photos / "annotations.json").read_text())
    content["categories"][0]["object"] = "left mug"
    content["categories"].append({"id": 4, "object": "mug", "part": "part"})
    content["annotations"].append({**content["annotations"][0], "id": 5, "category_id": 4})
    write_json(photos / "annotations.json", content)
    figures = dict(evaluate_folder(CocoFolder(photos), Reader(HANDLE)).queries.categories())
    assert set(figures) == {("left mug", "handle"), ("", "rim"), ("knife", ""), ("mug", "part")}
    assert figures["left mug", "handle"].mean_iou == 1
    assert (figures["mug", "part"].present, figures["mug", "part"].mean_iou) == (1, 0.5)


def test_the_same_word_as_object_and_as_part_is_two_queries(photos):
    content = json.loads((photos / "annotations.json").read_text())
    content["categories"].append({"id": 4, "object": "rim", "part": ""})
    write_json(photos / "annotations.json", content)
    result = evaluate_folder(CocoFolder(photos), Answers(HANDLE))
    rims = {key: figures for key, figures in result.queries.categories() if "rim" in key}
    assert rims["", "rim"].present == 1
    assert rims["", "rim"].false_alarm_rate == 0
    assert {"rim", "rim (object)"} < set(result.as_dict()["per_category"])
    assert (rims["rim", ""].absent, rims["rim", ""].false_alarm_rate) == (2, 1)


def test_the_threshold_curve_is_what_cutting_the_map_gives():
    random = np.random.default_rng(0)
    probability = random.random((40, 50), dtype=np.float32)
    truth = random.random((40, 50)) < 0.3
    expected = [
        ((probability >= t) & truth).sum() / ((probability >= t) | truth).sum() for t in THRESHOLDS
    ]
    np.testing.assert_allclose(iou_curve(probability, truth), expected)


def test_the_best_threshold_is_one_for_all_queries():
    figures = QueryAccumulator()
    truth = box(0, 0, 20, 20)
    for level in (0.2, 0.8):
        probability = np.where(truth, level, level - 0.15).astype(np.float32)
        figures.add(PartQuery("rim", part="rim"), truth, probability, truth)
    found = figures.metrics()
    assert found.mean_iou == 1
    assert found.best_threshold_iou < 1
    assert found.present == 2
    assert np.isnan(found.false_alarm_rate)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda content: content["categories"][0].update(object="", part=""),
            "neither an object nor a part",
        ),
        (lambda content: content["annotations"][0].update(category_id=9), "category_id 9"),
        (
            lambda content: content["annotations"][3].pop("mask"),
            "neither a segmentation nor a mask",
        ),
        (lambda content: content["images"][0].update(file_name="gone.png"), "gone.png is missing"),
        (lambda content: content.pop("images"), "has no images"),
    ],
)
def test_broken_annotations_are_named(photos, spoil, message):
    content = json.loads((photos / "annotations.json").read_text())
    spoil(content)
    write_json(photos / "annotations.json", content)
    with pytest.raises(DatasetError, match=message):
        CocoFolder(photos)


def test_a_folder_without_annotations_says_what_is_expected(tmp_path):
    with pytest.raises(DatasetError, match=r'annotations\.json is missing.*"object": "mug"'):
        CocoFolder(tmp_path)


def test_the_command_prints_writes_and_draws(photos, tmp_path, capsys):
    weights, out = write_toy("clipseg", tmp_path / "small.safetensors"), tmp_path / "out"
    words = ["evaluate", "folder", str(photos), "--model", str(weights)]
    assert main([*words, "--json", str(out / "figures.json"), "--report", str(out)]) == 0
    assert "mug handle" in capsys.readouterr().out
    figures = json.loads((out / "figures.json").read_text())
    wanted = {
        "mean_iou",
        "cumulative_iou",
        "best_threshold_iou",
        "precision_50",
        "false_alarm_rate",
    }
    assert wanted < set(figures)
    assert all(wanted < set(category) for category in figures["per_category"].values())
    assert (out / "index.html").read_text().count("<img") == 6


def test_an_unknown_category_is_named_and_the_others_are_scored(photos, tmp_path, capsys):
    content = json.loads((photos / "annotations.json").read_text())
    content["categories"].append({"id": 4, "object": "zxqwv", "part": ""})
    write_json(photos / "annotations.json", content)
    weights, out = write_toy("compact", tmp_path / "small.safetensors"), tmp_path / "figures.json"
    words = ["evaluate", "folder", str(photos), "--model", str(weights)]
    assert main([*words, "--json", str(out)]) == 0
    assert "zxqwv" in capsys.readouterr().out
    figures = json.loads(out.read_text())
    assert [refused["text"] for refused in figures["refused"]] == ["zxqwv"]
    assert set(figures["per_category"]) == {"mug handle", "rim", "knife"}
    assert (figures["present"], figures["absent"]) == (3, 3)


def test_a_folder_whose_categories_are_all_unknown_is_refused(photos, tmp_path):
    content = json.loads((photos / "annotations.json").read_text())
    for category in content["categories"]:
        category.update(object="zxqwv", part="")
    write_json(photos / "annotations.json", content)
    weights = write_toy("compact", tmp_path / "small.safetensors")
    with pytest.raises(QueryError, match="zxqwv"):
        evaluate_folder(CocoFolder(photos), PartSegmenter.from_pretrained(weights, device="cpu"))


def test_a_folder_must_be_named(capsys):
    assert main(["evaluate", "folder"]) == 1
    assert "ovps evaluate folder DIR" in capsys.readouterr().err
