"""The real pictures that come with the package."""

from __future__ import annotations

import json

import pytest

from ovps_core.cli import main
from ovps_core.datasets.coco_folder import ANNOTATIONS, CocoFolder
from ovps_core.evaluation.household import HOUSEHOLD


def test_every_picture_has_masks_a_source_and_a_licence_that_allows_copies() -> None:
    folder = CocoFolder(HOUSEHOLD)
    entries = json.loads((HOUSEHOLD / ANNOTATIONS).read_text())["images"]
    assert len(folder.images) == len(entries) == 66
    assert {entry["licence"] for entry in entries} == {"CC BY 2.0", "CC BY 4.0", "MIT"}
    assert all(entry["source"] for entry in entries)
    for image, entry in zip(folder.images, entries, strict=True):
        rgb = folder.read(image)
        assert rgb.shape[:2] == (entry["height"], entry["width"])
        masks = folder.masks(image, *rgb.shape[:2])
        assert masks
        assert all(mask.any() for mask in masks.values())


def test_the_command_scores_a_model_on_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "household", "--backend", "torch", "--limit", "2"]) == 0
    said = capsys.readouterr().out
    assert "on household: 2 images" in said
    assert "false alarms" in said


def test_absent_parts_are_known_of_every_picture() -> None:
    folder = CocoFolder(HOUSEHOLD)
    for image in folder.images:
        shown = folder.masks(image, *folder.read(image).shape[:2])
        assert set(folder.scored(image)) - set(shown)
