"""A released OpenSeeD of any variant converts; what is wrong with another file is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.paths import FIXTURES
from helpers.toy_models import toy
from torch import Tensor

from ovps_core.checkpoints import CheckpointInfo, load_model
from ovps_core.checkpoints.convert import convert
from ovps_core.checkpoints.convert.openseed import (
    from_openseed,
    openseed_config,
    openseed_key,
    released_openseed_key,
)
from ovps_core.checkpoints.file import check_fit, full_state
from ovps_core.cli import main
from ovps_core.errors import CheckpointError
from ovps_core.models.openseed.config import SwinConfig, TextConfig
from ovps_core.models.openseed.corrections import Corrections

BASE, SWIN_L = "keys_swint_base.txt", "keys_swinl_decouple.txt"


def released_shapes(keys: str) -> dict[str, list[int]]:
    """Names and shapes of a released file."""
    lines = (FIXTURES / "openseed" / keys).read_text().splitlines()
    named = (line.split(" ", 1) for line in lines if line)
    return {
        name: [int(n) for n in shape.strip("()").split(",") if n.strip()] for name, shape in named
    }


def released_toy() -> dict[str, Tensor]:
    """The toy's weights under the released names, with the aliases and buffers of a released file."""
    loaded = toy("openseed")
    ours = full_state(loaded.model, loaded.query_encoder)
    named = {name: openseed_key(name) for name in released_shapes(SWIN_L)}
    state = {name: ours[key] for name, key in named.items() if key in ours}
    assert {named[name] for name in state} == set(ours)
    return state | {"criterion_coco.empty_weight": torch.ones(134)}


@pytest.mark.parametrize(
    ("keys", "stuff", "levels", "swin"),
    [
        (BASE, 0, 4, SwinConfig()),
        (SWIN_L, 100, 5, SwinConfig(192, (2, 2, 18, 2), (6, 12, 24, 48), 12)),
    ],
)
def test_sizes_of_the_released_files_are_read_from_their_tensors(
    keys: str, stuff: int, levels: int, swin: SwinConfig
) -> None:
    # Expanded tensors take no memory.
    state = {name: torch.zeros(()).expand(shape) for name, shape in released_shapes(keys).items()}
    tensors = from_openseed(state)
    config = openseed_config(tensors)
    assert config.backbone == swin
    assert (config.stuff_queries, config.levels) == (stuff, levels)
    assert (config.dim, config.mlp_dim, config.text_dim, config.points) == (256, 2048, 512, 4)
    assert (config.encoder_layers, config.decoder_layers) == (6, 9)
    assert config.text == TextConfig(context_length=18)
    assert config.corrections == Corrections.released()
    check_fit(CheckpointInfo("", "openseed", config), tensors, origin=keys)


@pytest.mark.parametrize("keys", [BASE, SWIN_L])
def test_every_tensor_has_its_released_name_in_messages(keys: str) -> None:
    shapes = released_shapes(keys)
    for ours in filter(None, map(openseed_key, shapes)):
        released = released_openseed_key(ours)
        assert released in shapes and openseed_key(released) == ours


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_released_file_converts_and_loads(prefix: str, tmp_path: Path, capsys) -> None:
    source, target = tmp_path / "openseed.pt", tmp_path / "openseed.safetensors"
    state = {prefix + name: tensor for name, tensor in released_toy().items()}
    state[f"{prefix}pixel_std"] = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    torch.save({"model": state} if prefix else state, source)
    assert main(["convert", str(source), str(target)]) == 0
    loaded = load_model(target)
    assert loaded.info.digest in capsys.readouterr().out
    expected = toy("openseed")
    ours = full_state(loaded.model, loaded.query_encoder)
    for name, tensor in full_state(expected.model, expected.query_encoder).items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=0)


def test_shared_tensors_that_differ_are_refused(tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in released_toy().items()}
    state["sem_seg_head.predictor.decoder.norm.weight"] += 1
    torch.save(state, tmp_path / "openseed.pt")
    with pytest.raises(CheckpointError, match=r"two versions of heads\.norm\.weight"):
        convert(tmp_path / "openseed.pt", tmp_path / "never.safetensors")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda s: s.pop("sem_seg_head.pixel_decoder.transformer.level_embed"),
            "lack sem_seg_head.pixel_decoder.transformer.level_embed,",
        ),
        (lambda s: s.pop("backbone.norm2.bias"), "1 missing: backbone.norm2.bias"),
        (
            lambda s: s.pop("sem_seg_head.predictor.lang_mapper"),
            "1 missing: sem_seg_head.predictor.lang_mapper",
        ),
        (
            lambda s: s.pop("sem_seg_head.predictor.query_embed.weight"),
            "1 missing: sem_seg_head.predictor.query_embed.weight$",
        ),
        (
            lambda s: s.update(pixel_mean=torch.zeros(3, 1, 1)),
            r"pixel_mean is \(0.0, 0.0, 0.0\), expected \(123.675",
        ),
        (lambda s: s.update({"backbone.extra": torch.zeros(1)}), "1 unexpected: backbone.extra"),
    ],
)
def test_an_altered_file_is_refused_with_the_keys(spoil, says: str, tmp_path: Path) -> None:
    state = released_toy()
    spoil(state)
    torch.save(state, tmp_path / "openseed.pt")
    with pytest.raises(CheckpointError, match=says):
        convert(tmp_path / "openseed.pt", tmp_path / "never.safetensors")
    assert not (tmp_path / "never.safetensors").exists()
