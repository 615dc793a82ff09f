"""Sources of a bulk annotation: none is lost or read twice; labels of people stay, with the ids they refer to."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ovps_core.bulk import units as units_module
from ovps_core.bulk.annotator import Annotator, Job
from ovps_core.bulk.run import Summary, annotate_frames
from ovps_core.bulk.units import find_units
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import UsageError
from ovps_core.labelling.merge import Submission, merge
from ovps_core.labelling.regions import Region
from ovps_core.structures.boxes import Box
from ovps_core.structures.image_files import save_image
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery

HEIGHT, WIDTH = 24, 32
HANDLE = PartQuery("mug handle", "mug", "handle")


class Segmenter:
    """A stand-in that finds two handles, whose place depends on the picture."""

    name = "stand-in"

    def encode_queries(self, queries: str) -> Any:
        return SimpleNamespace(queries=(HANDLE,), refused=())

    def segment(self, image: np.ndarray, queries: Any, options: Any) -> PartMasks:
        height, width = image.shape[:2]
        place = int(image.mean()) % 10
        found = tuple(
            PartMask(number, HANDLE, 0.9, Box(place, 8 * number, 4, 4), np.ones((4, 4), bool))
            for number in (1, 2)
        )
        return PartMasks(height, width, (HANDLE,), found, self.name)


def run(out: Path, *sources: Path) -> Summary:
    annotator = Annotator(Job(out, "mug handle"), Segmenter)  # type: ignore[arg-type]
    return annotate_frames(sources, annotator, model="m")


def pictures(folder: Path, numbers: Sequence[int]) -> Path:
    for number in numbers:
        save_image(folder / f"{number}.png", np.full((HEIGHT, WIDTH, 3), number, np.uint8))
    return folder


def content(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "annotations.json").read_text()))


def write_bag(path: Path, count: int = 3, scale: int = 1) -> Path:
    pytest.importorskip("rosbags")
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    from ovps_core.ros_io.bags.messages import message_encoder, typestore

    kind = "sensor_msgs/msg/Image"
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    generator = np.random.default_rng(0)
    with writer:
        topic = writer.add_connection("/image", kind, typestore=typestore())
        for number in range(1, count + 1):
            stamp = number * 10**8
            size = scale * HEIGHT, scale * WIDTH, 3
            pixels = generator.integers(0, 255, size, dtype=np.uint8)
            message = message_encoder.image(pixels, message_encoder.header(stamp, "camera"))
            writer.write(topic, stamp, typestore().serialize_cdr(message, kind))
    return path


def test_another_source_does_not_replace_the_data_set(tmp_path: Path) -> None:
    one, two = pictures(tmp_path / "one", [1, 2]), pictures(tmp_path / "two", [3])
    out = tmp_path / "out"
    run(out, one)
    before = content(out)
    with pytest.raises(UsageError, match="one too, and would lose it"):
        run(out, two)
    assert content(out) == before
    assert run(out, one, two).frames == 3
    with pytest.raises(UsageError, match="two too"):
        run(out, one)
    assert run(out, tmp_path).frames == 3, "their folder holds them"


def test_a_data_set_of_another_command_is_not_overwritten(tmp_path: Path) -> None:
    table = tmp_path / "out" / "annotations.json"
    table.parent.mkdir()
    table.write_text("{}")
    with pytest.raises(UsageError, match="did not make"):
        run(table.parent, pictures(tmp_path / "one", [1]))
    assert table.read_text() == "{}"


@pytest.mark.parametrize("folder", ["data/year", "data"])
def test_the_data_set_is_no_source_of_itself(tmp_path: Path, folder: str) -> None:
    source, out = tmp_path / "data", tmp_path / folder
    pictures(source / "pictures", [1, 2])
    write_bag(source / "bag")
    for _ in range(2):
        assert run(out, source).frames == 5
    assert len({image["file_name"] for image in content(out)["images"]}) == 5


def test_a_path_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "one", [1, 2, 3])
    out = tmp_path / "out"
    assert run(out, folder, folder / "1.png", folder / ".." / "one").frames == 3
    bag = write_bag(tmp_path / "bag")
    (file,) = bag.glob("*.db3*")
    assert run(tmp_path / "other", bag, file).frames == 3


@pytest.mark.parametrize("what", ["touched", "deleted"])
def test_a_file_that_is_touched_or_deleted_during_the_run_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(units_module, "PICTURES_PER_UNIT", 1)
    source, out = pictures(tmp_path / "source", [1, 2, 3]), tmp_path / "out"
    segment = Segmenter.segment

    def meanwhile(self: Segmenter, image: np.ndarray, *rest: Any) -> PartMasks:
        for path in (source / "1.png", source / "3.png") if image.mean() == 2 else ():
            os.utime(path, (0, 0)) if what == "touched" else path.unlink()
        return segment(self, image, *rest)

    monkeypatch.setattr(Segmenter, "segment", meanwhile)
    summary = run(out, source)
    names = [Path(image["file_name"]).name for image in content(out)["images"]]
    assert names == ["1.png", "2.png", "3.png"][: summary.frames]
    assert summary.frames == (3 if what == "touched" else 2)
    assert summary.left_out.total() == 3 - summary.frames, "the deleted one is named"


def test_a_file_is_read_once_whatever_links_lead_to_it(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "data" / "run", [1, 2])
    other = pictures(tmp_path / "other", [3])
    for link, target in {"again": ".", "above": "..", "other": other}.items():
        (folder / link).symlink_to(target)
    (tmp_path / "data" / "latest").symlink_to("run")
    (folder / "best.png").symlink_to("2.png")
    units = find_units([tmp_path / "data", folder / "again" / "1.png"])
    expected = [str(folder / "1.png"), str(folder / "2.png"), str(folder / "other" / "3.png")]
    assert [path for unit in units for path in unit.paths] == expected


def submit(out: Path, image_id: int, *regions: Region) -> None:
    """A person submits a picture, as ``ovps label save`` merges it."""
    coco, _ = merge(content(out), [Submission(image_id, "me", "2026-01-01", regions)])
    (out / "annotations.json").write_text(json.dumps(coco))


def by_name(coco: dict[str, Any]) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Image and annotations of each picture, by its file's name."""
    return {
        Path(image["file_name"]).name: (
            image,
            [a for a in coco["annotations"] if a["image_id"] == image["id"]],
        )
        for image in coco["images"]
    }


def test_labels_of_people_outlast_another_run(tmp_path: Path) -> None:
    source, out = pictures(tmp_path / "source", [1, 2, 3, 4]), tmp_path / "out"
    run(out, source)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:9, 20:30] = True
    submit(out, 1, Region("drawn", "mug handle", mask))
    submit(out, 2)  # nothing is there
    submit(out, 4, Region("drawn", "mug handle", mask))
    before = by_name(content(out))
    (source / "4.png").unlink()  # a person labelled it
    pictures(source, [0])  # sorts before the others
    run(out, source)
    after = content(out)
    new = by_name(after)
    assert list(new) == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert {name: new[name] for name in before} == before
    assert new["1.png"][1][0]["annotator"] == "me" and not new["2.png"][1]
    for key in ("images", "annotations"):
        ids = [entry["id"] for entry in after[key]]
        assert len(set(ids)) == len(ids)
    run(out, source)
    assert content(out) == after
    pictures(source, [4])
    assert len(CocoFolder(out, pseudo_labels=True).images) == 5


def test_frames_of_a_recording_that_was_copied_keep_their_labels(tmp_path: Path) -> None:
    bag, out = write_bag(tmp_path / "bag"), tmp_path / "out"
    run(out, bag)
    submit(out, 2)
    before = content(out)
    (bag / "notes.txt").write_text("a file more is another key of the unit")
    assert run(out, bag).frames == 3
    after = content(out)
    assert [image["id"] for image in after["images"]] == [1, 2, 3]
    assert after["images"][1] == before["images"][1]
    assert after["annotations"] == before["annotations"]


def test_categories_that_people_added_stay(tmp_path: Path) -> None:
    source, out = pictures(tmp_path / "source", [1]), tmp_path / "out"
    run(out, source)
    coco = content(out)
    coco["categories"].append({"id": 2, "name": "mug rim", "object": "mug", "part": "rim"})
    (out / "annotations.json").write_text(json.dumps(coco))
    run(out, source)
    assert content(out) == coco


def test_a_recording_with_damage_is_named_and_tried_again(tmp_path: Path) -> None:
    bag, out = write_bag(tmp_path / "bag", count=40, scale=5), tmp_path / "out"
    (file,) = bag.glob("*.db3*")
    whole = file.read_bytes()
    first = len(whole) // 2
    file.write_bytes(whole[:first] + bytes(4000) + whole[first + 4000 :])
    summary = run(out, bag)
    assert 0 < summary.frames < 40
    assert "messages are lost" in summary.problems[str(bag)]
    again = run(out, bag)
    assert again.resumed == 0 and again.problems == summary.problems
    file.write_bytes(whole)
    mended = run(out, bag)
    assert mended.frames == 40 and not mended.problems


def test_results_do_not_have_to_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units_module, "PICTURES_PER_UNIT", 1)
    source, out = pictures(tmp_path / "source", range(40)), tmp_path / "out"
    run(out, source)
    (out / "annotations.json").unlink()  # a run that was interrupted at its end
    for path in (out / "units").iterdir():
        result = json.loads(path.read_text())
        for annotation in result["images"][0]["annotations"]:
            annotation["segmentation"]["counts"] *= 100_000 // len(
                annotation["segmentation"]["counts"]
            )
        path.write_text(json.dumps(result))
    size = sum(path.stat().st_size for path in (out / "units").iterdir())
    tracemalloc.start()
    try:
        assert run(out, source).resumed == 40
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 7e6 and peak < size / 4
    assert len(content(out)["annotations"]) == 80
