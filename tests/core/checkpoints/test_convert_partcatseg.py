"""A released PartCATSeg or CAT-Seg converts; what is wrong with another file is said."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from helpers.paths import FIXTURES
from helpers.toy_models import toy
from torch import Tensor

from ovps_core.checkpoints import load_model
from ovps_core.checkpoints.convert import convert
from ovps_core.checkpoints.convert.partcatseg import catseg_key, convert_catseg_release
from ovps_core.checkpoints.convert.released_file import ReleasedWeights
from ovps_core.checkpoints.file import check_fit, full_state
from ovps_core.cli import main
from ovps_core.errors import CheckpointError
from ovps_core.models.catseg.config import CATSegConfig
from ovps_core.models.catseg.model import CATSeg
from ovps_core.models.partcatseg.corrections import Corrections

PARTCATSEG = "partcatseg/keys_partcatseg_vitb16_dinov2s.txt"
CATSEG = "catseg/keys_catseg_vitb16_dinov2s.txt"
CATSEG_V1 = "catseg/keys_catseg_vitb16_r101.txt"
HEAD = "sem_seg_head.predictor."


def released_shapes(keys: str) -> dict[str, list[int]]:
    """Names and shapes of a released file."""
    lines = (FIXTURES / keys).read_text().splitlines()
    columns = (line.split("\t") for line in lines if not line.startswith("#"))
    return {name: ast.literal_eval(shape) for name, shape, _ in columns}


def without_memory(keys: str) -> dict[str, Tensor]:
    return {name: torch.zeros(()).expand(shape) for name, shape in released_shapes(keys).items()}


def released_toy() -> dict[str, Tensor]:
    """A toy PartCATSeg's weights under the released names, with the buffers and leftovers of a released file."""
    loaded = toy("partcatseg")
    ours = full_state(loaded.model, loaded.query_encoder)
    state = {}
    for name, shape in released_shapes(PARTCATSEG).items():
        key = catseg_key(name)
        if key in ours:
            state[name] = ours[key]
        elif name.endswith(".attn_mask"):
            state[name] = torch.zeros(4, 9, 9)
        elif "layers_object" in name:
            state[name] = torch.zeros(shape)
    assert {catseg_key(name) for name in state} >= set(ours)
    return state


@pytest.mark.parametrize(
    ("keys", "family", "guidance"),
    [
        (PARTCATSEG, "partcatseg", "vit_small_patch14_dinov2"),
        (CATSEG, "catseg", "vit_small_patch14_dinov2"),
        (CATSEG_V1, "catseg", "resnet101"),
    ],
)
def test_sizes_of_the_released_files_are_read_from_their_tensors(
    keys: str, family: str, guidance: str
) -> None:
    info, tensors = convert_catseg_release(
        ReleasedWeights(without_memory(keys), {}, "pascal_part_116", "")
    )
    assert info.model == family and info.config.guidance == guidance
    defaults = CATSegConfig()
    for name in ("image_size", "templates", "dim", "heads", "layers", "window", "pooling"):
        assert getattr(info.config, name) == getattr(defaults, name), name
    assert info.config.guidance_size == (448 if "vit" in guidance else 384)
    assert (info.config.decoder_dims, info.config.decoder_guidance_dims) == ((64, 32), (32, 16))
    assert len(info.config.trained_object_parts) == 74
    check_fit(info, tensors, origin=keys)


def test_a_file_can_be_read_with_separate_layers_for_objects() -> None:
    weights = ReleasedWeights(without_memory(PARTCATSEG), {}, "", "", separate_aggregation=True)
    info, tensors = convert_catseg_release(weights)
    assert info.config.corrections.separate_aggregation
    check_fit(info, tensors, origin=PARTCATSEG)


def test_the_checkpoint_of_the_pre_training_has_no_background_and_gets_one() -> None:
    state = without_memory(CATSEG_V1)
    del state[f"{HEAD}non_object_embedding"]
    info, tensors = convert_catseg_release(ReleasedWeights(state, {}, "", ""))
    check_fit(info, tensors, origin=CATSEG_V1)
    assert tensors["background"].norm() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("keys", [PARTCATSEG, CATSEG_V1])
@pytest.mark.slow
def test_a_full_size_file_converts_and_loads_without_loss(keys: str, tmp_path: Path) -> None:
    """As detectron2 writes it, with optimiser state that is left out."""
    source, target = tmp_path / "model_final.pth", tmp_path / "converted.safetensors"
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(shape, generator=generator) * 0.02
        for name, shape in released_shapes(keys).items()
    }
    optimizer = {"state": {0: {"exp_avg": torch.zeros(26_774_497)}}}
    torch.save({"model": state, "optimizer": optimizer, "iteration": 19999}, source)
    info = convert(source, target, vocabulary="pascal_part_116")
    source.unlink()
    loaded = load_model(target)
    ours = full_state(loaded.model, loaded.query_encoder)
    converted = {catseg_key(name): tensor for name, tensor in state.items()}
    for name, tensor in ours.items():
        assert torch.equal(tensor, converted[name]), name
    left_out = {str(name) for name in converted if name} - set(ours)
    assert all(name.startswith("object_layers.") for name in left_out)
    assert info.config.corrections == Corrections.released() if keys == PARTCATSEG else True


def test_text_banks_hold_the_background_of_the_file(tmp_path: Path) -> None:
    """The released code makes its banks before it loads a file, and relies on the seed to draw the same vector."""
    source, target = tmp_path / "toy.pth", tmp_path / "toy.safetensors"
    state = released_toy()
    state[f"{HEAD}non_object_embedding"] = torch.arange(1.0, 33.0)[None]
    torch.save({"model": state}, source)
    assert main(["convert", str(source), str(target)]) == 0
    loaded = load_model(target)
    assert isinstance(loaded.model, CATSeg)
    conditions = loaded.query_encoder.encode([])
    row = conditions.conditions.names[-1].unflatten(0, (-1, 32))
    expected = torch.nn.functional.normalize(torch.arange(1.0, 33.0), dim=0)
    torch.testing.assert_close(row, expected.expand_as(row))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda s: s.pop(f"{HEAD}transformer.text_guidance_projection.0.weight"),
            "lack 'text_proj",
        ),
        (lambda s: s.pop("backbone.dinov2.norm.bias"), "1 missing: guidance.tower.norm.bias"),
        (lambda s: s.pop(f"{HEAD}non_object_embedding"), "1 missing: background"),
        (lambda s: s.update({"backbone.extra": torch.zeros(1)}), "1 unexpected: backbone.extra"),
    ],
)
def test_an_altered_file_is_refused_with_the_keys(spoil, says: str, tmp_path: Path) -> None:
    state = released_toy()
    spoil(state)
    torch.save(state, tmp_path / "partcatseg.pth")
    with pytest.raises(CheckpointError, match=says):
        convert(tmp_path / "partcatseg.pth", tmp_path / "never.safetensors")
    assert not (tmp_path / "never.safetensors").exists()


def test_a_file_with_python_objects_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {f"{HEAD}transformer.conv1.weight": Path}}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="not loaded for safety"):
        convert(tmp_path / "evil.pth", tmp_path / "never.safetensors")
