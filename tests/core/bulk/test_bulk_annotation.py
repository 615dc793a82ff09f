"""Bulk annotation: each frame once, however often it is interrupted, on one process or on Ray."""

from __future__ import annotations

import json
import pickle
import re
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.killed_worker import open_and_die_once
from helpers.toy_models import write_toy

from ovps_core.bulk import units as units_module
from ovps_core.bulk.annotator import Annotator, Job
from ovps_core.bulk.run import annotate_frames
from ovps_core.bulk.units import find_units
from ovps_core.cli import main
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import CheckpointError, UsageError
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.segmenter import PartSegmenter

REPOSITORY = Path(__file__).parents[3]
QUERIES = "knife handle, mug rim"
LOOSE = ["--score-threshold", "0", "--mask-threshold", "0.498"]  # the toy knows nothing


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_toy("clipseg", tmp_path_factory.mktemp("weights") / "toy.safetensors"))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of five pictures, one of them cut, and a damaged recording; two pictures are a unit."""
    monkeypatch.setattr(units_module, "PICTURES_PER_UNIT", 2)
    folder = tmp_path / "year"
    (folder / "monday").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for i in range(5):
        picture = generator.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        picture = cv2.resize(picture, (80, 60), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "monday" / f"{i}.png"), picture)
    cut = folder / "monday" / "3.png"
    cut.write_bytes(cut.read_bytes()[:200])
    (folder / "broken.mcap").write_bytes(b"\x89MCAP0\r\n" + bytes(300))
    return folder


def command(source: Path, out: Path, model: str, *options: str) -> list[str]:
    words = ["annotate", "frames", str(source), "--out", str(out), "--queries", QUERIES]
    return [*words, "--model", model, "--backend", "torch", *LOOSE, *options]


def content(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "annotations.json").read_text()))


def test_every_frame_is_annotated_once_and_what_is_broken_is_named(
    source: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rosbags")
    out = tmp_path / "out"
    assert main(command(source, out, model)) == 1, "something could not be read"
    printed = capsys.readouterr()
    assert "broken.mcap" in printed.err and "3.png" in printed.out
    coco = content(out)
    names = [Path(image["file_name"]).name for image in coco["images"]]
    assert names == ["0.png", "1.png", "2.png", "4.png"]
    assert coco["annotations"] and all(a["pseudo_label"] for a in coco["annotations"])
    names = [c["name"] for c in coco["categories"]]
    assert names == ["knife handle", "mug rim"], "found or not, so that people can draw them"
    assert len(CocoFolder(out, pseudo_labels=True).images) == 4, "it is a data set"


def test_an_interrupted_run_does_only_what_is_left_and_ends_the_same(
    source: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rosbags")
    out = tmp_path / "out"
    main(command(source, out, model))
    expected = content(out)
    results = sorted(
        (out / "units").iterdir(), key=lambda p: len(json.loads(p.read_text())["images"])
    )
    results[-1].unlink()  # as if it had been interrupted before this unit
    kept = {path: path.stat().st_mtime_ns for path in results[1:-1]}
    capsys.readouterr()
    main(command(source, out, model))
    assert content(out) == expected
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "finished units are left alone"
    assert re.search(r"of an earlier run +2\n", capsys.readouterr().out)
    assert main(command(source, out, model, "--every", "3")) == 1
    assert "was annotated with other every: 1, not 3" in capsys.readouterr().err


def test_a_run_of_another_engine_does_not_continue_it(
    source: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Masks of another precision, backend or calibration differ."""
    (source / "broken.mcap").unlink()
    (source / "monday" / "3.png").unlink()  # calibration refuses it
    out = tmp_path / "out"
    assert main(command(source, out, model)) == 0
    for option, value, name in [
        ("--precision", "fp32", "precision: 'auto', not 'fp32'"),
        ("--backend", "compiled", "backend: 'torch', not 'compiled'"),
        ("--calibrate", str(source / "monday"), "calibration: '', not "),
    ]:
        assert main(command(source, out, model, option, value)) == 1
        assert f"was annotated with other {name}" in capsys.readouterr().err
    job = json.loads((out / "job.json").read_text())
    earlier = {key: job[key] for key in ("queries", "model", "options", "image_topic", "every")}
    (out / "job.json").write_text(json.dumps(earlier))
    assert main(command(source, out, model)) == 0, "a folder of an earlier version goes on"


@pytest.mark.slow
def test_a_model_of_transformers_annotates_frames(source: Path, tmp_path: Path) -> None:
    tiny_sam3 = pytest.importorskip("helpers.tiny_sam3")
    (source / "broken.mcap").unlink()
    folder = tiny_sam3.write_folder("sam3", tmp_path / "hub" / "own-sam3")
    assert main(command(source, tmp_path / "out", str(folder))) == 0
    annotations = content(tmp_path / "out")["annotations"]
    assert annotations and all(a["model"].startswith("own-sam3 ") for a in annotations)


def test_a_recording_is_annotated_as_its_pictures_are(model: str, tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    from rosbags.rosbag2 import StoragePlugin, Writer

    from ovps_core.ros_io.bags.messages import message_encoder, typestore

    kind, generator = "sensor_msgs/msg/Image", np.random.default_rng(0)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (tmp_path / "year").mkdir()
    bag = tmp_path / "year" / "bag"
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection("/camera/image", kind, typestore=typestore())
        for i in range(3):
            image = generator.integers(0, 255, (60, 80, 3), dtype=np.uint8)
            cv2.imwrite(str(pictures / f"{i}.png"), image)
            message = message_encoder.image(
                image, message_encoder.header(1000 + i, "camera"), "bgr8"
            )
            writer.write(topic, 1000 + i, typestore().serialize_cdr(message, kind))
    for name in ("year", "pictures"):
        assert main(command(tmp_path / name, tmp_path / f"{name}-out", model)) == 0
    recorded, taken = content(tmp_path / "year-out"), content(tmp_path / "pictures-out")
    assert [image["stamp_ns"] for image in recorded["images"]] == [1000, 1001, 1002]
    assert recorded["annotations"] == taken["annotations"]
    assert (tmp_path / "year-out" / recorded["images"][0]["file_name"]).is_file()


def test_a_run_whose_phrases_are_all_refused_leaves_the_folder_to_the_next(
    source: Path, model: str, tmp_path: Path
) -> None:
    (source / "broken.mcap").unlink()
    out = tmp_path / "out"
    words = command(source, out, model)
    assert main(["not the mug" if word == QUERIES else word for word in words]) == 1
    assert main(words) == 0 and content(out)["images"]


def test_a_source_without_frames_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds neither pictures"):
        find_units([tmp_path])
    with pytest.raises(UsageError, match="does not exist"):
        find_units([tmp_path / "none"])


@pytest.mark.slow
def test_ray_gives_the_plain_run_frame_for_frame_and_survives_a_killed_worker(
    source: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    from ovps_core.bulk.on_ray import RayExecutor

    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}:{REPOSITORY / 'tests'}")
    (source / "broken.mcap").unlink()
    options = SegmentOptions(score_threshold=0.0, mask_threshold=0.498)
    opening = partial(PartSegmenter.from_pretrained, model, backend="torch")
    plain = Job(tmp_path / "plain", QUERIES, options)
    annotate_frames([source], Annotator(plain, opening), model="toy")
    spread = Job(tmp_path / "ray", QUERIES, options)
    flag = tmp_path / "killed"
    dying = Annotator(spread, partial(open_and_die_once, model, str(flag)))
    summary = annotate_frames([source], dying, model="toy", execute=RayExecutor(workers=2))
    assert flag.is_file(), "a worker was killed"
    assert summary.frames == 4
    assert content(tmp_path / "ray") == content(tmp_path / "plain")
    again = annotate_frames([source], dying, model="toy", execute=RayExecutor(workers=2))
    assert again.resumed == 4, "nothing is done twice"


@pytest.mark.slow
def test_an_error_of_a_worker_of_ray_is_the_one_of_a_plain_run(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    from ovps_core.bulk.on_ray import RayExecutor

    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}:{REPOSITORY / 'tests'}")
    gone = partial(PartSegmenter.from_pretrained, str(tmp_path / "gone.safetensors"))
    annotator = Annotator(Job(tmp_path / "out", QUERIES), gone)
    with pytest.raises(CheckpointError) as plain:
        annotate_frames([source], annotator, model="toy")
    with pytest.raises(CheckpointError) as spread:
        annotate_frames([source], annotator, model="toy", execute=RayExecutor(workers=1))
    assert str(spread.value) == str(plain.value)


def test_a_worker_of_ray_returns_errors_of_ours_as_rows(source: Path, tmp_path: Path) -> None:
    from ovps_core.bulk.on_ray import _Worker

    gone = partial(PartSegmenter.from_pretrained, str(tmp_path / "gone.safetensors"))
    (source / "broken.mcap").unlink()
    (unit, *_) = find_units([source])
    row = {"kind": unit.kind, "paths": list(unit.paths), "key": unit.key}
    answer = _Worker(Annotator(Job(tmp_path / "out", QUERIES), gone))(row)
    error = pickle.loads(answer["error"])
    assert isinstance(error, CheckpointError) and "gone.safetensors" in str(error)
