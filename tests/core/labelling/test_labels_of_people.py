"""Labels of people: masks go to Label Studio and back, and each says who made it, how and when."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.labelled_frames import HEIGHT, WIDTH, box, content

from ovps_core.cli import main
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.segmentations import encode_segmentation
from ovps_core.errors import DatasetError, MissingDependencyError, UsageError
from ovps_core.labelling.merge import Submission, merge, region_key
from ovps_core.labelling.project import (
    RECORD,
    Project,
    _suggestions,
    interface,
    recorded_project,
    require_server,
)
from ovps_core.labelling.regions import Region, from_results, outlined, to_results
from ovps_core.labelling.server import LOG, Server, find_server, start_server
from ovps_core.structures.masks import mask_iou
from ovps_core.structures.whole_files import write_json


def test_each_mask_says_whether_the_model_a_correction_or_a_hand_made_it(frames: Path) -> None:
    accepted = Region(region_key(1), "valve wheel", box(10, 5, 40, 25))
    corrected = Region(region_key(2), "valve stem", box(22, 25, 28, 35))
    drawn = Region("aBc-9", "valve wheel", box(50, 0, 60, 4))
    submission = Submission(0, "ada@lab.org", "2026-05-01T10:00:00Z", (accepted, corrected, drawn))
    merged, counts = merge(content(frames), [submission])
    assert counts == {"model": 1, "corrected": 1, "drawn": 1, "pictures": 1}
    mine = {a["origin"]: a for a in merged["annotations"] if a["image_id"] == 0}
    assert [mine[origin]["id"] for origin in ("model", "corrected", "drawn")] == [1, 2, 7]
    for annotation in mine.values():
        assert annotation["annotator"] == "ada@lab.org"
        assert annotation["annotated_at"] == "2026-05-01T10:00:00Z"
        assert "pseudo_label" not in annotation and "score" not in annotation
    assert mine["corrected"]["track_id"] == 2, "what else is known of the mask stays"
    assert mine["drawn"]["bbox"] == [50, 0, 10, 4] and mine["drawn"]["area"] == 40
    others = [a for a in merged["annotations"] if a["image_id"] != 0]
    assert len(others) == 4 and all(a["pseudo_label"] for a in others)
    again, counts_again = merge(merged, [submission])
    assert (again, counts_again) == (merged, counts), "merging twice changes nothing"


def test_a_suggestion_that_was_deleted_is_known_to_be_absent(frames: Path) -> None:
    wheel = Region(region_key(1), "valve wheel", box(10, 5, 40, 25))
    submissions = [Submission(0, "a", "now", (wheel,)), Submission(1, "a", "now", ())]
    merged, _ = merge(content(frames), submissions)
    (frames / "annotations.json").write_text(json.dumps(merged))
    folder = CocoFolder(frames, labelled_only=True)
    images = {image.name: image for image in folder.images}
    assert set(images) == {"0.png", "1.png"} and folder.unlabelled == 1, "2.png was not submitted"
    for image in images.values():  # training learns that what has no mask is not there
        assert {category.part for category in folder.exhaustive(image)} == {"wheel", "stem"}
    with pytest.raises(DatasetError, match="2 of 3 annotations are pseudo-labels"):
        CocoFolder(frames)
    assert len(CocoFolder(frames, labelled_only=True, pseudo_labels=True).images) == 3


def test_without_any_submitted_picture_there_is_nothing_labelled(frames: Path) -> None:
    with pytest.raises(DatasetError, match="nobody has labelled any of the 3 pictures yet"):
        CocoFolder(frames, labelled_only=True)
    coco = content(frames)
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] != 0]
    coco["images"][0]["not_exhaustive_category_ids"] = [1]  # the model was not asked for it
    (frames / "annotations.json").write_text(json.dumps(coco))
    with pytest.raises(DatasetError, match="nobody has labelled any of the 3 pictures yet"):
        CocoFolder(frames, labelled_only=True)


def test_a_mask_whose_key_was_lost_is_known_by_its_place(frames: Path) -> None:
    same = Region("new", "valve wheel", box(10, 5, 40, 25))
    moved = Region("", "valve stem", box(22, 30, 28, 45))
    renamed = Region(region_key(3), "valve stem", box(10, 5, 40, 25))
    _, counts = merge(content(frames), [Submission(0, "a", "now", (same, moved))])
    assert counts == {"model": 1, "corrected": 1, "pictures": 1}
    _, counts = merge(content(frames), [Submission(1, "a", "now", (renamed,))])
    assert counts["corrected"] == 1, "another label is a correction"


def test_a_mask_with_another_label_has_the_words_of_that_label(frames: Path) -> None:
    coco = content(frames)
    words = {"object": "valve", "part": "wheel", "query": "wheel of the valve"}
    coco["annotations"][0].update(words)
    regions = [
        Region(region_key(1), label, box(10, 5, 40, 25)) for label in ("valve stem", "valve wheel")
    ]
    for region, expected in zip(
        regions, ({**words, "part": "stem", "query": "valve stem"}, words), strict=True
    ):
        merged, _ = merge(coco, [Submission(0, "a", "now", (region,))])
        (mine,) = (a for a in merged["annotations"] if a["image_id"] == 0)
        assert {key: mine[key] for key in words} == expected


def test_an_accepted_mask_of_a_person_keeps_what_is_known_of_it(frames: Path) -> None:
    coco = content(frames)
    (frames / "masks").mkdir()
    cv2.imwrite(str(frames / "masks/0.png"), box(10, 5, 40, 25).astype(np.uint8))
    ids = {"image_id": 0, "category_id": 1}
    coco["annotations"] = [
        {"id": 1, **ids, "mask": "masks/0.png", "iscrowd": 1},
        {"id": 2, **ids, "segmentation": encode_segmentation(box(45, 5, 60, 25)), "iscrowd": 0},
    ]
    shown = list(_suggestions(coco["annotations"], {1: "valve wheel"}, HEIGHT, WIDTH, frames))
    assert [int(region.mask.sum()) for region in shown] == [600, 300]
    drawn = Region("a", "valve stem", box(22, 25, 28, 45))
    ada = Submission(0, "ada", "10:00", (*shown, drawn))
    merged, counts = merge(coco, [ada], frames)
    first, second, _ = (a for a in merged["annotations"] if a["image_id"] == 0)
    assert "mask" not in first and first["area"] == 600
    assert (first["iscrowd"], second["iscrowd"]) == (1, 0)
    assert "origin" not in first and counts == {"kept as they were": 2, "drawn": 1, "pictures": 1}
    changed = replace(shown[1], mask=box(45, 5, 60, 15))
    bob = Submission(0, "bob", "12:00", (shown[0], changed, replace(drawn, key="b")))
    merged, _ = merge(merged, [bob], frames)
    whom = [(a["annotator"], a["annotated_at"], a.get("origin")) for a in merged["annotations"]]
    assert whom == [
        ("ada", "10:00", None),
        ("bob", "12:00", "corrected"),
        ("ada", "10:00", "drawn"),
    ]


def test_a_coarse_outline_of_a_small_suggestion_is_no_correction(frames: Path) -> None:
    coco = content(frames)
    disc = np.hypot(*np.mgrid[-20:28, -20:44]) <= 4
    coco["annotations"][0]["segmentation"] = encode_segmentation(disc)
    region = Region(region_key(1), "valve wheel", outlined(disc), is_outline=True)
    assert mask_iou(region.mask, disc) < 0.9
    merged, counts = merge(coco, [Submission(0, "ada", "10:00", (region,))])
    (mine,) = (a for a in merged["annotations"] if a["image_id"] == 0)
    assert counts["model"] == 1 and mine["segmentation"] == encode_segmentation(disc)
    painted = replace(region, is_outline=False)
    assert merge(coco, [Submission(0, "ada", "10:00", (painted,))])[1]["corrected"] == 1


def test_a_submission_stays_with_its_picture_when_the_ids_have_moved(frames: Path) -> None:
    coco = content(frames)
    for image in coco["images"]:
        image["id"] += 1
    for annotation in coco["annotations"]:
        annotation["image_id"] += 1
        annotation["id"] += 2
    region = Region(region_key(4), "valve stem", box(22, 25, 28, 45))
    merged, counts = merge(coco, [Submission(1, "a", "now", (region,), "1.png")])
    (mine,) = (a for a in merged["annotations"] if "annotator" in a)
    assert {image["id"]: image["file_name"] for image in merged["images"]}[
        mine["image_id"]
    ] == "1.png"
    assert mine["id"] == 6 and counts["model"] == 1, "known by its place"
    assert len(merged["annotations"]) == 5
    with pytest.raises(DatasetError, match=r"gone\.png', which this data set does not have"):
        merge(coco, [Submission(1, "a", "now", (region,), "gone.png")])


def test_labels_that_the_data_set_lacks_are_refused(frames: Path) -> None:
    stranger = Region("x", "pump lid", box(1, 1, 5, 5))
    with pytest.raises(DatasetError, match="'pump lid' is not a category of the data set; it has"):
        merge(content(frames), [Submission(0, "a", "now", (stranger,))])
    with pytest.raises(DatasetError, match="the picture 9, which this data set does not have"):
        merge(content(frames), [Submission(9, "a", "now", ())])


def test_a_submitted_picture_does_not_show_what_has_no_mask_there(frames: Path) -> None:
    wheel = Region("aBc-9", "valve wheel", box(10, 5, 40, 25))
    submissions = [Submission(0, "ada", "10:00", ()), Submission(1, "ada", "11:00", (wheel,))]
    merged, _ = merge(content(frames), submissions)
    (frames / "annotations.json").write_text(json.dumps(merged))
    folder = CocoFolder(frames, pseudo_labels=True)
    absent = [{c.part for c in folder.exhaustive(image)} for image in folder.images]
    assert absent == [{"wheel", "stem"}, {"wheel", "stem"}, set()]
    scored = [{c.part for c in folder.scored(image)} for image in folder.images]
    assert scored == [{"wheel", "stem"}] * 3, "the last picture has masks of a model"
    assert merge(merged, submissions)[0] == merged, "merging twice changes nothing"


def test_nothing_is_absent_from_a_picture_that_nobody_submitted(frames: Path) -> None:
    coco = content(frames)
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] != 2]
    merged, _ = merge(coco, [Submission(0, "ada", "10:00", ())])
    (frames / "annotations.json").write_text(json.dumps(merged))
    folder = CocoFolder(frames, pseudo_labels=True)
    assert [len(folder.scored(image)) for image in folder.images] == [2, 2, 0]


def test_a_category_that_came_after_a_submission_is_not_absent_there(frames: Path) -> None:
    early = Submission(0, "ada", "10:00", ())
    merged, _ = merge(content(frames), [early])
    merged["categories"].append({"id": 3, "object": "valve", "part": "nut"})
    merged, _ = merge(merged, [early, Submission(1, "ada", "12:00", ())])
    negatives = [image.get("neg_category_ids") for image in merged["images"]]
    assert negatives == [[1, 2], [1, 2, 3], None]


def test_masks_survive_the_way_to_label_studio_and_back() -> None:
    pytest.importorskip("label_studio_sdk", reason="label-studio-sdk is not installed")
    two_pieces = box(3, 4, 20, 30) | box(40, 10, 60, 40)
    region = Region("ovps:1", "valve wheel", two_pieces)
    (back,) = from_results(to_results(region, "brush"), HEIGHT, WIDTH, "test")
    assert np.array_equal(back.mask, two_pieces) and back.label == "valve wheel"
    pieces = list(from_results(to_results(region, "polygon"), HEIGHT, WIDTH, "test"))
    union = pieces[0].mask | pieces[1].mask
    assert np.array_equal(union, two_pieces)
    disc = np.hypot(*np.mgrid[-20:28, -20:44]) <= 4
    (back,) = from_results(to_results(replace(region, mask=disc), "polygon"), HEIGHT, WIDTH, "test")
    assert back.is_outline and mask_iou(back.mask, disc) >= 0.98, "small masks keep their shape"
    ring = box(3, 4, 30, 30) & ~box(6, 7, 27, 27)
    (back,) = from_results(to_results(replace(region, mask=ring), "polygon"), HEIGHT, WIDTH, "test")
    assert np.array_equal(back.mask, ring), "an outline would fill it"
    with pytest.raises(DatasetError, match="a region is of a picture of"):
        list(from_results(to_results(region, "brush"), WIDTH, HEIGHT, "test"))


def test_label_studio_is_given_colours_that_its_brush_can_draw() -> None:
    colours = re.findall(r'background="([^"]*)"', interface(["valve wheel", "valve stem"]))
    assert len(colours) == 4 and len(set(colours)) == 2
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours), "others become black"


def test_a_server_is_named_or_the_error_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="Start one with `ovps label serve`"):
        find_server(None, None, tmp_path)
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://robot:8080/")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "secret")
    assert find_server(None, None, tmp_path) == Server("http://robot:8080", "secret")


def test_a_password_that_begins_with_a_dash_is_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "label-studio"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 3\n')
    program.chmod(0o755)
    monkeypatch.setattr("ovps_core.labelling.server.shutil.which", lambda *_, **__: str(program))
    server = Server("http://localhost:8080", "key", "ada", "-secret")
    assert start_server(server, tmp_path).wait(20) == 3
    assert "--password=-secret" in (tmp_path / LOG).read_text().split("\n")
    assert main(["label", "serve", "--data-dir", str(tmp_path)]) == 3
    assert "--no-browser" in capsys.readouterr().err, "it shows why the server ended"


def test_the_port_of_our_own_server_may_change(
    frames: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = "ovps_core.labelling.project"
    monkeypatch.setattr(logging.getLogger(name), "disabled", False)  # as libraries may leave it
    caplog.set_level(logging.WARNING, logger=name)
    monkeypatch.setattr(Server, "has_project", lambda self, number: number == 4)
    own = Server("http://localhost:8080", "key", "ada", "secret")
    write_json(frames / RECORD, asdict(Project(own.url, 4, own.fingerprint)))
    moved = recorded_project(frames, replace(own, url="http://localhost:8081"))
    assert moved is not None and moved.page == "http://localhost:8081/projects/4/data"
    assert recorded_project(frames, replace(own, key="other", url="http://localhost:8081")) is None
    assert "which http://localhost:8081 does not have" in caplog.text
    lab = Server("http://lab:8080", "key")
    write_json(frames / RECORD, {"url": lab.url, "project": 4})
    assert recorded_project(frames, lab) is not None, "a record of an earlier version"


def test_what_a_server_is_asked_with_needs_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"requests is not installed: .*label"):
        require_server(Server("http://localhost:1", "key"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_person_accepts_repaints_and_draws_on_the_real_server(
    served: Path, frames: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    where = ["--data-dir", str(served)]
    server = find_server(None, None, served)
    client = server.client()
    personal = str(client.tokens.create().token)
    lab = ["--url", server.url, "--key", personal]
    assert main(["label", "open", str(frames), "--labels", "valve nut", *lab]) == 0
    assert "/projects/" in capsys.readouterr().out
    assert [c["name"] for c in content(frames)["categories"]][-1] == "valve nut"

    project = json.loads((frames / "label_studio.json").read_text())["project"]
    tasks = {
        task.data["image_id"]: task for task in client.tasks.list(project=project, fields="all")
    }
    assert len(tasks) == 3
    suggested = dict(tasks[0].predictions[0])["result"]
    assert {tuple(r["value"]["brushlabels"]) for r in suggested} == {
        ("valve wheel",),
        ("valve stem",),
    }

    repainted = to_results(Region(region_key(2), "valve stem", box(22, 25, 28, 35)), "brush")
    wheel = [r for r in suggested if r["value"]["brushlabels"] == ["valve wheel"]]
    nut = to_results(Region("Xy1", "valve nut", box(50, 2, 60, 8)), "polygon")
    client.annotations.create(id=tasks[0].id, result=[*wheel, *repainted, *nut])
    client.annotations.create(id=tasks[1].id, result=[], was_cancelled=True)

    assert main(["label", "save", str(frames), *where]) == 0
    saved = content(frames)
    mine = {a["origin"]: a for a in saved["annotations"] if a["image_id"] == 0}
    assert set(mine) == {"model", "corrected", "drawn"}
    assert all(
        a["annotator"] == server.user and a["annotated_at"][:2] == "20" for a in mine.values()
    )
    skipped = [a for a in saved["annotations"] if a["image_id"] == 1]
    assert len(skipped) == 2 and all(a["pseudo_label"] for a in skipped)
    reader = CocoFolder(frames, pseudo_labels=True)
    masks = {c.part: m for c, m in reader.masks(reader.images[0], HEIGHT, WIDTH).items()}
    assert np.array_equal(masks["stem"], box(22, 25, 28, 35))
    assert np.array_equal(masks["nut"], box(50, 2, 60, 8))

    assert main(["label", "open", str(frames), *where]) == 0
    count = len(list(client.tasks.list(project=project)))
    assert count == 3, "opening again adds what is new and leaves the rest"
