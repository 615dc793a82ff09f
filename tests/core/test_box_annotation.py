"""`ovps annotate boxes` gives each box of a data set a mask, goes on after an interruption, and loses nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.miniature_objects import HEIGHT, WIDTH, write_objects365
from helpers.toy_models import write_toy

from ovps_core import ObjectSegmenter
from ovps_core.bulk.box_annotation import annotate_boxes
from ovps_core.cli import main
from ovps_core.datasets.coco_objects import CocoObjects
from ovps_core.datasets.segmentations import decode_segmentation
from ovps_core.errors import UsageError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy("openseed", tmp_path_factory.mktemp("weights") / "objects.safetensors")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two images with boxes; one is a crowd, one has a mask that somebody drew."""
    path = write_objects365(tmp_path) / "annotations" / "zhiyuan_objv2_val.json"
    content = json.loads(path.read_text())
    content["annotations"][1]["iscrowd"] = 1
    drawn = {**content["annotations"][0], "id": 9, "segmentation": [[0, 0, 9, 0, 9, 9]]}
    path.write_text(json.dumps({**content, "annotations": [*content["annotations"], drawn]}))
    return path


def annotate(weights: Path, source: Path, out: Path, *options: str) -> int:
    images = source.parent.parent / "val"
    arguments = [str(source), "--images", str(images), "--out", str(out), "--model", str(weights)]
    return main(["annotate", "boxes", *arguments, *options])


def test_every_box_gets_a_mask_that_is_marked_as_made_by_a_model(
    weights: Path, source: Path, tmp_path: Path, capsys
) -> None:
    content = json.loads(source.read_text())
    content["annotations"][2]["bbox"] = [WIDTH + 5, 4, 9, 9]  # beside the picture
    source.write_text(json.dumps(content))
    out = tmp_path / "masks.json"
    assert annotate(weights, source, out) == 0
    said = dict(line.split() for line in capsys.readouterr().out.splitlines()[2:])
    assert (said["images"], said["kept"]) == ("2", "1")
    assert int(said["masks"]) + int(said["crowds"]) == 3
    content = json.loads(out.read_text())
    first, crowd, _, drawn = sorted(content["annotations"], key=lambda each: each["id"])
    for each in content["annotations"]:
        if "score" in each:
            assert (
                each["area"] == decode_segmentation(each["segmentation"], HEIGHT, WIDTH, "").sum()
            )
    assert first["pseudo_label"] and first["bbox"] == [4, 6, 20, 24]
    assert crowd["iscrowd"] == 1 and crowd["pseudo_label"]
    assert drawn["segmentation"] == [[0, 0, 9, 0, 9, 9]] and "pseudo_label" not in drawn
    data = CocoObjects(out, images=source.parent.parent / "val")
    assert data.has_masks and data.pseudo_labels == 3
    sample = data.read(0)
    assert sample.pseudo.tolist().count(False) == 1 and sample.masks is not None
    boxes = sample.boxes[sample.pseudo].tolist()
    assert all(box == [4, 6, 24, 30] for box in boxes), "the box stays the truth"
    with pytest.raises(UsageError, match="exists already"):
        annotate_boxes(source, out, ObjectSegmenter.from_pretrained(weights))


def test_an_interrupted_run_goes_on(
    weights: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.json", tmp_path / "out.json"
    assert annotate(weights, source, whole) == 0
    decode, calls = ObjectSegmenter.decode_masks, []

    def interrupted(self: ObjectSegmenter, *arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return decode(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ObjectSegmenter, "decode_masks", interrupted)
    assert annotate(weights, source, out) == 130
    assert not out.exists()
    journal = tmp_path / "out.json.journal"
    with journal.open("a") as stream:
        stream.write('[{"segm')  # a line that a kill cut
    assert annotate(weights, source, out, "--min-score", "0.1") == 1, "other options, other masks"
    assert annotate(weights, source, out, "--short-side", "96") == 1, "another size, other masks"
    with journal.open() as stream:
        origin = json.loads(stream.readline())
    assert origin["precision"] == "fp32"
    assert annotate(weights, source, out) == 0
    assert len(calls) == 3, "the first image is not decoded again"
    assert out.read_text() == whole.read_text() and not journal.exists()


def test_damaged_pictures_and_bad_masks_end_nothing(
    weights: Path, source: Path, tmp_path: Path, capsys
) -> None:
    (damaged, *_) = sorted(source.parent.parent.rglob("*1.jpg"))
    damaged.write_bytes(b"not a picture")
    out = tmp_path / "masks.json"
    assert annotate(weights, source, out, "--min-score", "1") == 0
    assert damaged.name in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert len(content["images"]) == 1
    assert [each["iscrowd"] for each in content["annotations"]] == [1], "no mask is good enough"
    assert CocoObjects(out, images=source.parent.parent / "val").has_masks
