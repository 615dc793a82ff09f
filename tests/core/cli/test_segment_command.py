"""`ovps segment` answers what it can, says what it cannot, in words, in pictures and for programs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.toy_models import toy
from pycocotools import mask as coco_mask

from ovps_core.cli import main, parser
from ovps_core.cli.pictures import Picture
from ovps_core.cli.segment import _segment
from ovps_core.engines.torch_eager import EagerEngine
from ovps_core.language.parser import parse_query
from ovps_core.pipeline.drawing import draw_page
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.image_files import load_image
from ovps_core.structures.masks import PartMasks

TABLE = ROOT / "docs" / "images" / "table.jpg"


def segment(*arguments: str | Path) -> int:
    return main(["segment", str(TABLE), *map(str, arguments), "--backend", "torch"])


def test_the_parts_of_the_picture_in_the_readme_are_found(tmp_path: Path) -> None:
    assert segment("knife handle", "mug handle", "--masks", tmp_path) == 0
    knife, mug = (
        np.max([cv2.imread(str(path), 0) for path in tmp_path.glob(f"*{name}.png")], axis=0) > 0
        for name in ("knife handle", "mug handle")
    )
    assert knife[360, 415] and mug[215, 218]
    assert 2000 < knife.sum() < 4000 and 500 < mug.sum() < 1500


def test_the_lines_of_the_readme_run(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    lines = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    monkeypatch.chdir(ROOT)
    exec(lines, {})
    said = capsys.readouterr().out
    assert "knife handle 0." in said and "rim of the mug 0." in said


def test_known_words_are_answered_and_unknown_ones_named(capsys) -> None:
    assert segment("mug handle", "flurb, knife handle", "mug antenna") == 1
    said = capsys.readouterr()
    assert "mug handle" in said.out and "knife handle" in said.out and "flurb" not in said.out
    refusals = said.err.splitlines()
    assert [line.split(":")[1].strip() for line in refusals] == ["'flurb'", "'mug antenna'"]


def test_where_nothing_can_be_asked_nothing_is_written(tmp_path: Path, capsys) -> None:
    assert segment("flurb", "", "-o", tmp_path / "out.png") == 1
    said = capsys.readouterr()
    assert said.out == "" and "'flurb'" in said.err and "without words" in said.err
    assert not list(tmp_path.iterdir())


def test_json_holds_everything_a_program_wants(tmp_path: Path, capsys) -> None:
    assert segment("hilt of the knife", "spout", "flurb", "--json", "--masks", tmp_path) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["height"], answer["width"], answer["image"]) == (480, 640, str(TABLE))
    assert answer["model"].startswith("ovps-tiny")
    hilt, spout = answer["queries"]
    assert hilt == {
        "text": "hilt of the knife",
        "object": "knife",
        "part": "hilt",
        "which": "",
        "read_as": {"object": "knife", "part": "handle"},
        "corrected": [],
        "ignored": [],
    }
    assert (spout["text"], spout["read_as"]) == ("spout", {"object": "", "part": "spout"})
    assert [missing["query"] for missing in answer["not_found"]] == [spout]
    assert 0 <= answer["not_found"][0]["best"]["probability"] < 0.5
    assert [refused["text"] for refused in answer["refused"]] == ["flurb"]
    part = answer["parts"][0]
    assert part["id"] == 1 and part["query"] == hilt and 0.5 <= part["score"] <= 1
    mask = coco_mask.decode(part["segmentation"]) > 0
    written = cv2.imread(str(tmp_path / "01 hilt of the knife.png"), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(mask, written > 0)
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    assert part["roi"] == {"x_offset": x, "y_offset": y, "width": width, "height": height}
    assert part["area"] == mask.sum()


def test_json_is_printed_also_where_nothing_can_be_asked(capsys) -> None:
    assert segment("flurb", "gearbox", "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["height"], answer["width"]) == (480, 640)
    assert answer["queries"] == answer["parts"] == []
    flurb, gearbox = answer["refused"]
    assert flurb["text"] == "flurb" and "'flurb'" in flurb["reason"] and flurb["nearest"] == []
    assert "suitcase" in gearbox["nearest"]


def test_every_reason_is_given_when_phrases_fail_for_different_reasons(capsys) -> None:
    assert segment("flurb", "") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("ovps segment: ") and second.startswith("ovps segment: ")


def test_an_output_that_is_no_picture_is_refused_before_the_model_runs(
    tmp_path: Path, capsys
) -> None:
    assert segment("knife handle", "-o", tmp_path / "new" / "out.gif") == 1
    assert ".png or .jpg" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_folder_of_an_output_is_made(tmp_path: Path) -> None:
    assert segment("knife handle", "-o", tmp_path / "new folder" / "out.png") == 0
    assert (tmp_path / "new folder" / "out.png").stat().st_size > 1000


def test_the_table_says_how_a_phrase_was_read(capsys) -> None:
    assert segment("knife handle", "please find the hilt of the knief") == 0
    said = capsys.readouterr()
    assert re.search(r"please find .* knife handle \(ignored: please, find\) +0\.\d", said.out)
    assert "ignored" not in said.out.splitlines()[2] and said.err == ""


def test_not_found_says_what_came_closest_and_what_to_try(capsys) -> None:
    assert segment("hammer") == 0
    said = capsys.readouterr()
    found = re.search(r"not found \(best (0\.\d\d) at \((\d+), (\d+)\), below 0\.5\)", said.out)
    assert found and float(found[1]) < 0.5 and int(found[2]) < 640 and int(found[3]) < 480
    assert "--score-threshold" in said.err and "--model clipseg-rd64-refined" in said.err
    assert segment("hammer", "--mask-threshold", "0.9", "--min-area", "100000") == 0
    assert "below 0.9" in capsys.readouterr().out
    assert segment("knife", "--min-area", "100000") == 0
    assert "no 100000 pixels" in capsys.readouterr().out


def test_what_came_closest_is_of_the_list_that_was_asked() -> None:
    """CAT-Seg compares the phrases of a list with each other, so its answer to one alone is another."""
    loaded, image = toy("catseg"), load_image(TABLE)
    segmenter = PartSegmenter(loaded, EagerEngine(loaded.model))
    found = replace(parse_query("mug"), threshold=0.01)
    missing = replace(parse_query("knife"), threshold=0.99)
    queries = segmenter.encode_queries([found, missing])
    answer = _segment(segmenter, Picture(TABLE, image), image, queries, (), SegmentOptions())
    best = 1 / (1 + np.exp(-segmenter.query_maps([image], queries)[0, 1].max()))
    assert list(answer.peaks) == [missing]
    assert answer.peaks[missing].probability == pytest.approx(best, abs=1e-5)
    alone = segmenter.find_peaks(segmenter.encode(image), [missing])[0]
    assert abs(alone.probability - best) > 3e-4


def test_an_empty_folder_is_one_line(tmp_path: Path, capsys) -> None:
    assert main(["segment", str(tmp_path), "mug"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no pictures in {tmp_path}" in line


def test_several_pictures_are_answered_in_one_call(tmp_path: Path, capsys) -> None:
    photos, drawn = tmp_path / "photos", tmp_path / "drawn"
    photos.mkdir()
    drawn.mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(TABLE, photos / name)
    (photos / "broken.jpg").write_bytes(b"no picture")
    command = ["segment", "--backend", "torch", str(photos), str(TABLE), "--ask", "knife handle"]
    assert main([*command, "-o", str(drawn), "--masks", str(tmp_path / "masks")]) == 1
    said = capsys.readouterr()
    assert "broken.jpg cannot be read" in said.err
    assert all(f"{photos / name}  knife handle" in said.out for name in ("a.jpg", "b.jpg"))
    assert sorted(path.name for path in drawn.iterdir()) == ["a.png", "b.png", "table.png"]
    assert (tmp_path / "masks" / "a" / "01 knife handle.png").is_file()
    assert main([*command, "--json"]) == 1
    answers = json.loads(capsys.readouterr().out)
    assert [Path(answer["image"]).name for answer in answers] == [
        "a.jpg",
        "b.jpg",
        *("broken.jpg", "table.jpg"),
    ]
    assert answers[0]["parts"] == answers[3]["parts"]
    assert set(answers[2]) == {"image", "error"} and "cannot be read" in answers[2]["error"]
    assert main(["segment", str(photos / "broken.jpg"), "knife", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == answers[2]["error"]
    assert main([*command, "-o", str(tmp_path / "one.png")]) == 1
    assert "expected a folder" in capsys.readouterr().err


@pytest.mark.parametrize("names", [("a/x.jpg", "b/x.jpg"), ("x.jpg", "x.png")])
@pytest.mark.parametrize("option", ["-o", "--masks"])
def test_two_pictures_are_not_written_under_one_name(
    option: str, names: tuple[str, str], tmp_path: Path, capsys
) -> None:
    pictures = [tmp_path / name for name in names]
    for path in pictures:
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.zeros((40, 60, 3), np.uint8))
    command = ["segment", "--backend", "torch", *map(str, pictures), "--ask", "mug"]
    assert main([*command, option, str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert all(str(path) in said for path in pictures) and "'x'" in said
    assert not (tmp_path / "out").exists()
    assert main(command) == 0


def test_a_limit_of_parts_keeps_the_best_and_changes_nothing_else(capsys) -> None:
    words = ["knife handle", "mug handle", "mug rim", "--json"]
    assert segment(*words) == 0
    everything = json.loads(capsys.readouterr().out)
    assert segment(*words, "--max-parts", "2") == 0
    best = json.loads(capsys.readouterr().out)
    for part in everything["parts"] + best["parts"]:
        del part["margin"]  # to rivals among the parts of the answer
    assert len(everything["parts"]) > 2 and best["parts"] == everything["parts"][:2]
    assert best.keys() == everything.keys() and best["queries"] == everything["queries"]
    assert segment(*words[:-1], "--max-parts", "1") == 0
    assert "or not among the best 1 parts" in capsys.readouterr().out


def test_masks_of_an_earlier_run_do_not_stay_among_the_new_ones(tmp_path: Path) -> None:
    several = ["segment", "--backend", "torch", "--masks", str(tmp_path), str(TABLE), "--ask"]
    folder = tmp_path / "table"
    assert main([*several, "knife handle", "mug rim"]) == 0
    assert len(list(folder.iterdir())) > 1
    (folder / "notes.png").write_bytes(b"not of this command")
    assert main([*several, "knife handle"]) == 0
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["01 knife handle.png", "notes.png"]


def test_masks_of_other_phrases_stay_in_the_folder_of_a_single_picture(tmp_path: Path) -> None:
    for name in ("07 knife handle.png", "01 mug rim.png", "02 holiday.png"):
        (tmp_path / name).write_bytes(b"earlier")
    assert segment("knife handle", "--masks", tmp_path) == 0
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["01 knife handle.png", "01 mug rim.png", "02 holiday.png"]


def test_a_hash_in_the_name_of_a_picture_is_no_frame(tmp_path: Path) -> None:
    shutil.copy(TABLE, tmp_path / "cup #2.jpg")
    command = ["segment", "--backend", "torch", str(tmp_path), "mug", "-o", str(tmp_path / "out")]
    assert main(command) == 0
    assert (tmp_path / "out" / "cup #2.png").is_file()


def test_the_frames_of_a_video_are_pictures(tmp_path: Path, capsys) -> None:
    picture = cv2.imread(str(TABLE))
    video = cv2.VideoWriter(
        str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, picture.shape[1::-1]
    )
    for _ in range(3):
        video.write(picture)
    video.release()
    command = ["segment", str(tmp_path / "clip.avi"), "knife handle", "--json"]
    whole = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "clip.avi").write_bytes(whole[: len(whole) // 2])
    assert main([*command, "--backend", "torch"]) == 1
    said = capsys.readouterr()
    assert "of 3 frames could be read" in said.err
    *frames, cut = json.loads(said.out)
    assert frames[0]["image"].endswith("clip.avi#0") and "of 3 frames" in cut["error"]
    (tmp_path / "clip.avi").write_bytes(whole)
    assert main([*command, "--backend", "torch"]) == 0
    first, second, _ = json.loads(capsys.readouterr().out)
    assert first["image"].endswith("clip.avi#0") and second["image"].endswith("clip.avi#1")
    assert len(first["parts"]) == len(second["parts"]) == 1


def test_a_second_picture_is_not_taken_for_a_phrase(tmp_path: Path, capsys) -> None:
    shutil.copy(TABLE, tmp_path / "b.jpg")
    assert segment(tmp_path / "b.jpg", "mug") == 1
    assert "--ask" in capsys.readouterr().err


def test_options_may_stand_between_the_picture_and_the_phrases() -> None:
    for words in (["a.jpg", "-o", "out.png", "mug"], ["a.jpg", "mug", "-o", "out.png"]):
        args = parser("segment").parse_args(["segment", *words])
        assert (str(args.picture), args.queries, args.ask) == ("a.jpg", ["mug"], [])
    args = parser("segment").parse_args(["segment", "photos", "--ask", "mug", "knife"])
    assert (args.queries, args.ask) == ([], ["mug", "knife"])
    with pytest.raises(SystemExit):
        parser("segment").parse_args(["segment", "a.jpg"])


def test_verbose_is_understood_before_and_after_the_command() -> None:
    words = ["segment", str(TABLE), "handle", "--backend", "torch"]
    for spoken in (["-v", *words], [*words, "-v"]):
        assert parser("segment").parse_args(spoken).verbose
    words.append("-v")
    done = subprocess.run(
        [sys.executable, "-m", "ovps_core", *words], capture_output=True, text=True, cwd=ROOT
    )
    assert "INFO engine: torch" in done.stderr and done.returncode == 0


def test_a_profile_is_by_default_of_the_engine_that_segments(capsys) -> None:
    assert main(["profile", "--frames", "1", "--rows", "0"]) == 0
    assert capsys.readouterr().out.startswith(f"{PartSegmenter.from_pretrained().engine}, ")


@pytest.mark.parametrize("size", [(40, 60), (480, 640), (2000, 300)])
def test_the_legend_hides_nothing_of_the_picture(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    queries = tuple(parse_query(text) for text in ("mug handle", "the rim of a large blue mug"))
    page = draw_page(image, PartMasks(*size, queries, (), "none"))
    np.testing.assert_array_equal(page[: size[0], : size[1]], image)
    legend = page[size[0] :]
    assert (legend[:, -2:] < 30).all(), "the longest line fits"
    assert (legend > 200).any()
