"""Weights files: headers of version 0.1.0, and networks that are built when they are needed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.paths import ROOT
from helpers.toy_models import toy, write_toy
from safetensors import safe_open
from safetensors.torch import save_file

from ovps_core.checkpoints import ModelFile, load_model, save_model
from ovps_core.checkpoints.file import full_state
from ovps_core.checkpoints.registry import find_weights, models_folder
from ovps_core.cli import main
from ovps_core.cli.output import json_text
from ovps_core.engines.engine_cache import model_key
from ovps_core.errors import CheckpointError

OLD_NAMES = {  # field -> its name in headers of version 0.1.0
    "object_parts": "pairs",
    "flip_tta": "mirrored",
    "prior_strength": "agreement",
    "prior_radius": "neighbourhood",
    "unseen_pair_penalty": "caution",
    "out_indices": "taps",
    "trained_object_parts": "trained_pairs",
}
TABLE = ROOT / "docs" / "images" / "table.jpg"
FAMILIES = ("clipseg", "partclipseg", "compact")


def as_version_0_1_0(path: Path) -> Path:
    """The same weights under a header as version 0.1.0 wrote it."""
    with safe_open(path, "pt") as file:
        header: dict[str, Any] = json.loads(file.metadata()["ovps"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    header["model"] = {"compact": "tiny"}.get(header["model"], header["model"])
    config = header["config"]
    header["config"] = {OLD_NAMES.get(name, name): value for name, value in config.items()}
    old = path.with_name("old.safetensors")
    save_file(state, old, metadata={"ovps": json.dumps(header)})
    return old


@pytest.mark.parametrize("family", FAMILIES)
def test_a_header_of_version_0_1_0_loads_to_the_same_network(family: str, tmp_path: Path) -> None:
    path = write_toy(family, tmp_path / "new.safetensors")
    new, old = load_model(path), load_model(as_version_0_1_0(path))
    assert old.info.digest != new.info.digest
    assert dataclasses.replace(old.info, digest=new.info.digest) == new.info
    assert old.spec == new.spec and type(old.model) is type(new.model)
    ours, theirs = (full_state(one.model, one.query_encoder) for one in (new, old))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_packaged_weights_load(tmp_path: Path) -> None:
    file = ModelFile(find_weights("ovps-tiny"))
    assert file.info.model == "compact" and "knife" in file.info.config.objects


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_and_its_network_are_one_model(family: str, tmp_path: Path) -> None:
    file = ModelFile(write_toy(family, tmp_path / "toy.safetensors"))
    assert file.spec == file.model.spec
    assert type(file.query_encoder) is type(file.loaded.query_encoder)
    assert file.model is file.model
    assert model_key(file) == model_key(file.model) == model_key(toy(family).model)


def test_converted_weights_are_kept_in_the_cache_folder_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OVPS_MODELS", raising=False)
    monkeypatch.setenv("OVPS_CACHE", str(tmp_path))
    assert models_folder() == tmp_path / "models"
    monkeypatch.setenv("OVPS_MODELS", str(tmp_path / "mine"))
    assert models_folder() == tmp_path / "mine"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OVPS_MODELS", "~/mine")
    assert models_folder() == tmp_path / "mine"
    monkeypatch.delenv("OVPS_MODELS")
    monkeypatch.setenv("OVPS_CACHE", "~/kept")
    assert models_folder() == tmp_path / "kept" / "models"


def test_no_name_is_no_model() -> None:
    with pytest.raises(CheckpointError, match="no model, file or folder is called ''; known are"):
        find_weights("")


def test_weights_of_whole_numbers_are_refused(tmp_path: Path) -> None:
    whole = write_toy("compact", tmp_path / "whole.safetensors")
    with safe_open(whole, "pt") as file:
        header = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    name = next(name for name, tensor in state.items() if tensor.is_floating_point())
    state[name] = state[name].to(torch.int8)
    save_file(state, whole, metadata=header)
    with pytest.raises(
        CheckpointError, match=f"1 of whole numbers: {name} is torch.int8, expected"
    ):
        load_model(whole)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_neither_loaded_nor_saved(
    value: float, tmp_path: Path, capsys
) -> None:
    whole = write_toy("compact", tmp_path / "whole.safetensors")
    with safe_open(whole, "pt") as file:
        header = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    name = next(name for name, tensor in state.items() if tensor.is_floating_point())
    state[name].view(-1)[0] = value
    broken = tmp_path / "broken.safetensors"
    save_file(state, broken, metadata=header)
    assert main(["segment", str(TABLE), "mug", "--model", str(broken), "--backend", "torch"]) == 1
    said = capsys.readouterr()
    assert str(broken) in said.err and f"in {name} are not finite" in said.err and not said.out
    with pytest.raises(CheckpointError, match=f"1 of .* in {name} are not finite"):
        save_model(tmp_path / "again.safetensors", state, load_model(whole).info)
    assert not (tmp_path / "again.safetensors").exists()


def test_half_precision_whose_sum_overflows_is_finite(tmp_path: Path) -> None:
    state = {"large": torch.full((1000,), 60000.0, dtype=torch.float16)}
    save_model(tmp_path / "half.safetensors", state, toy("compact").info)


def test_json_has_null_where_a_number_is_missing() -> None:
    assert json.loads(json_text({"a": [1.5, float("nan")], "b": -float("inf")})) == {
        "a": [1.5, None],
        "b": None,
    }
