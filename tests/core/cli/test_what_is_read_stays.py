"""No command writes onto a file that it reads: it is refused before any work is done."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers.miniature_benchmarks import polygon, write_json, write_noise
from helpers.paths import ROOT

from ovps_core.cli import main
from ovps_core.cli.output import check_inputs_stay
from ovps_core.errors import UsageError

TABLE = ROOT / "docs" / "images" / "table.jpg"
WEIGHTS = ROOT / "ovps_core" / "weights" / "ovps-tiny.safetensors"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in: photographs in ``photos``, a labelled data set in ``set``, weights."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "01 mug.png", "photos/b.png", "masks/b/01 mug.png", "set/images/c.png"):
        write_noise(tmp_path / name, len(name))
    shutil.copy(TABLE, tmp_path / "photos/t.jpg")
    shutil.copy(WEIGHTS, tmp_path / "m.safetensors")
    Path("link.png").hardlink_to("a.png")
    labelled = {
        "images": [{"id": 1, "file_name": "c.png"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "segmentation": polygon(10, 10, 30, 30),
            }
        ],
        "categories": [{"id": 1, "object": "mug", "part": "handle"}],
    }
    write_json(tmp_path / "set/annotations.json", labelled)
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "words",
    [
        "segment a.png mug -o a.png",
        "segment a.png mug -o ./photos/../a.png",
        "segment a.png mug -o link.png",
        "segment photos --ask mug -o photos",
        "segment a.png photos/t.jpg --ask mug -o .",
        "segment 01_mug.png mug --masks .",
        "segment photos/b.png masks/b/01_mug.png --ask mug --masks masks",
        "detect a.png mug -o a.png",
        "detect 01_mug.png mug --masks .",
        "evaluate folder set --json set/annotations.json",
        "evaluate folder set --json set/images/c.png",
        "evaluate folder set --model m.safetensors --json m.safetensors",
        "convert m.safetensors m.safetensors",
        "bench --calibrate . -o .",
    ],
)
def test_an_output_is_never_an_input(words: str, here: Path, capsys) -> None:
    shutil.copy("a.png", "bench.png")
    before = contents(here)
    assert main([word.replace("_", " ") for word in words.split()]) == 1
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert "would replace" in line and "another name" in line and not said.out
    assert contents(here) == before


def test_other_files_beside_the_inputs_may_be_written(here: Path, capsys) -> None:
    backend = ["--backend", "torch"]
    jpegs = ["segment", "photos/t.jpg", "--ask", "mug", "-o", "photos", *backend]
    for command in (
        ["segment", "a.png", "mug", "-o", "photos/a.png", "--masks", ".", *backend],
        jpegs,
        jpegs,  # its own earlier output is no input
        *2 * [["evaluate", "folder", "set", "--json", "set/scores.json", *backend]],
    ):
        assert main(command) == 0, capsys.readouterr().err


def test_what_does_not_exist_is_no_input(tmp_path: Path) -> None:
    check_inputs_stay([None, tmp_path / "new.png"], [None, Path("ovps-tiny"), tmp_path])
    with pytest.raises(UsageError, match="would replace"):
        check_inputs_stay([WEIGHTS], [WEIGHTS.parent / "." / WEIGHTS.name])
