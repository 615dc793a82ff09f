"""The simulated annotator of scripts/afternoon.py accepts, redraws, draws and deletes as a person does."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("trimesh", reason="the extra `render` is not installed")

from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.segmentations import encode_segmentation
from ovps_core.labelling.regions import Region, from_results, to_results
from scripts.afternoon import tables
from scripts.simulated_annotator import annotate, true_regions

HEIGHT, WIDTH = 60, 80


def region(key: str, label: str, left: int, right: int) -> Region:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:50, left:right] = True
    return Region(key, label, mask)


def test_suggestions_become_the_truth() -> None:
    suggested = [
        result
        for each in (
            region("ovps:1", "axe handle", 5, 25),  # right
            region("ovps:2", "axe head", 30, 36),  # too small
            region("ovps:3", "axe head", 60, 70),  # of another object
        )
        for result in to_results(each, "polygon")
    ]
    truth = [
        region("drawn-0", "axe handle", 5, 25),
        region("drawn-1", "axe head", 30, 40),
        region("drawn-2", "axe handle", 45, 50),
    ]
    done = list(annotate(suggested, truth, HEIGHT, WIDTH))
    assert [what for what, _ in done] == ["accepted", "redrawn", "drawn", "deleted"]
    results = [result for _, shapes in done for result in shapes]
    submitted = list(from_results(results, HEIGHT, WIDTH, "test"))
    assert [each.key for each in submitted] == ["ovps:1", "ovps:2", "drawn-2"]
    for each, true in zip(submitted, truth, strict=True):
        assert each.label == true.label and np.array_equal(each.mask, true.mask)


def test_a_picture_without_the_object_is_submitted_empty() -> None:
    suggested = to_results(region("ovps:1", "axe head", 5, 25), "polygon")
    assert list(annotate(suggested, [], HEIGHT, WIDTH)) == [("deleted", [])]


def test_the_truth_of_other_objects_is_left_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "17.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    pairs = [("axe", "head"), ("mug", "rim")]
    shown = region("", "", 5, 25).mask
    content = {
        "images": [{"id": 1, "file_name": "17.png"}],
        "categories": [
            {"id": i, "object": name, "part": part} for i, (name, part) in enumerate(pairs, 1)
        ],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": i, "segmentation": encode_segmentation(shown)}
            for i in (1, 2)
        ],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    folder = CocoFolder(tmp_path)
    (found,) = true_regions(folder, folder.images[0], ["axe head"])
    assert found.label == "axe head" and np.array_equal(found.mask, shown)


def test_the_report_has_the_object_and_the_others(tmp_path: Path) -> None:
    for folder, iou in (("before", 0.25), ("after", 0.5)):
        rows = {
            "axe head": {"object": "axe", "present": 2, "mean_iou": iou},
            "axe handle": {"object": "axe", "present": 6, "mean_iou": 0.0},
            "mug rim": {"object": "mug", "present": 5, "mean_iou": 0.75},
        }
        absent = {"absent": 4, "false_alarm_rate": 0.25}
        figures = {"groups": {"seen pairs": {"per_category": rows}, "object absent": absent}}
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.json").write_text(json.dumps(figures))
    report = tables("axe", {"test": tmp_path}, tmp_path / "before", tmp_path / "after")
    lines = {line[10:22].strip(): line.split()[-3:] for line in report.splitlines()[2:]}
    assert lines["axe head"] == ["0.250", "0.500", "0.250"]
    assert [float(value) for value in lines["axe, all"]] == pytest.approx([0.062, 0.125, 0.062])
    assert lines["others"] == ["0.750", "0.750", "0.000"]
    assert lines["false alarms"] == ["0.250", "0.250", "0.000"]
