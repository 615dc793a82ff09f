"""Paths given instead of a weights file: each is one line that says what to do; a copied hub folder works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.toy_models import write_toy

from ovps_core.checkpoints.convert import convert
from ovps_core.checkpoints.file import load_model, read_info
from ovps_core.checkpoints.registry import check_model_name, find_weights
from ovps_core.errors import CheckpointError

SMALL = ROOT / "tests" / "fixtures" / "clipseg"
STAND_INS = {
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
    "page": (b"<!DOCTYPE html><html>Virus scan warning</html>", "is a web page"),
    "empty": (b"", "is empty"),
    "noise": (b"\x01\x02\x03" * 100, "damaged"),
}


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "small-clipseg"
    folder.mkdir()
    shutil.copy(SMALL / "seed0_refined_state.safetensors", folder / "model.safetensors")
    shutil.copy(SMALL / "seed0_refined_config.json", folder / "config.json")
    return folder


@pytest.mark.parametrize("kind", STAND_INS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_stand_ins_are_named(kind: str, suffix: str, tmp_path: Path) -> None:
    content, message = STAND_INS[kind]
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    for read in (read_info, lambda path: convert(path, tmp_path / "never.safetensors")):
        with pytest.raises(CheckpointError, match=message) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_cut_file_is_named(tmp_path: Path, hub_folder: Path) -> None:
    ours, theirs = (
        write_toy("compact", tmp_path / "a.safetensors"),
        hub_folder / "model.safetensors",
    )
    for path in (ours, theirs):
        path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="is cut, damaged"):
        read_info(ours)
    with pytest.raises(CheckpointError, match="is cut, damaged"):
        convert(hub_folder, tmp_path / "never.safetensors")


def test_a_folder_copied_from_the_hub_is_a_model(
    hub_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVPS_MODELS", str(tmp_path / "models"))
    check_model_name(hub_folder)
    path = find_weights(hub_folder)
    assert load_model(path).info.name == "small-clipseg"
    before = path.stat().st_mtime_ns
    assert find_weights(str(hub_folder)) == path and path.stat().st_mtime_ns == before
    config = json.loads((hub_folder / "config.json").read_text())
    (hub_folder / "config.json").write_text(json.dumps({**config, "comment": "changed"}))
    assert find_weights(hub_folder) != path


def test_the_folder_of_a_training_run_is_a_model(tmp_path: Path) -> None:
    write_toy("compact", tmp_path / "model.safetensors")
    check_model_name(tmp_path)
    assert find_weights(tmp_path) == tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match="no model, file or folder"):
        check_model_name(tmp_path / "elsewhere")


def test_shards_and_folders_without_weights_are_named(hub_folder: Path) -> None:
    (hub_folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no weights at"):
        find_weights(hub_folder)
    (hub_folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="split into several files"):
        find_weights(hub_folder)


@pytest.mark.parametrize("content", ["[]", "{", "3"])
def test_a_damaged_configuration_is_named(hub_folder: Path, content: str) -> None:
    (hub_folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        find_weights(hub_folder)
