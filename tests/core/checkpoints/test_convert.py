"""Released weights convert, load and run; a wrong file is refused with what is wrong about it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.paths import TESTS
from safetensors.torch import load_file, save_file

from ovps_core import PartSegmenter
from ovps_core.checkpoints import LoadedModel, load_model
from ovps_core.checkpoints.convert.convert_file import convert
from ovps_core.checkpoints.convert.key_names import from_original_clipseg, ovps_key
from ovps_core.checkpoints.convert.released_file import read_state
from ovps_core.checkpoints.file import full_state
from ovps_core.cli import main
from ovps_core.errors import CheckpointError
from ovps_core.models.clipseg.model import CLIPSeg
from ovps_core.models.interface import Conditions
from ovps_core.models.partclipseg.model import PartCLIPSeg

FIXTURES = TESTS / "fixtures"


def full_size_state(keys: str) -> dict[str, torch.Tensor]:
    """Random tensors under the exact names and shapes of a released file."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in json.loads((FIXTURES / keys).read_text()).items():
        if name.endswith("position_ids"):
            state[name] = torch.arange(shape[-1]).expand(shape).clone()
        else:
            state[name] = torch.randn(shape, generator=generator) * 0.02
    return state


def released_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """A file as detectron2 writes it: prefixed weights, optimiser state, iteration."""
    state = full_size_state("keys_partclipseg_official.json")
    adam = {
        "state": {
            0: {"exp_avg": torch.zeros(27_000_000)},
            1: {"exp_avg_sq": torch.zeros(27_000_000)},
        }
    }
    content = {f"partclipseg_model.{name}": tensor for name, tensor in state.items()}
    torch.save({"model": content, "optimizer": adam, "iteration": 19999}, path)
    return state


@pytest.mark.slow
def test_the_official_partclipseg_file(tmp_path: Path) -> None:
    source, target = tmp_path / "model_final.pth", tmp_path / "converted.safetensors"
    state = released_checkpoint(source)
    weights = sum(tensor.nbytes for tensor in state.values())

    peak = convert_in_a_process(source, target, "--vocabulary", "pascal_part_116")
    assert peak < 3 * weights, f"{peak / 1e6:.0f} MB for {weights / 1e6:.0f} MB of weights"

    loaded = load_model(target)
    model, _, info = loaded
    assert isinstance(model, PartCLIPSeg)
    assert not model.config.corrections.object_prompt  # what the released weights were trained with
    assert len(model.config.trained_object_parts) == 74
    check_tensors(loaded, state)
    assert_equal_to_direct_evaluation(model, state)

    photo = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    segmenter = PartSegmenter.from_pretrained(str(target), backend="torch")
    masks = segmenter.segment(photo, ["dog head", "car wheel", "tail"])
    assert len(masks.queries) == 3
    assert str(info) == f"converted (sha256 {info.digest[:12]})"


@pytest.mark.slow
@pytest.mark.parametrize("keys", ["keys_rd64_refined_hf.json", "keys_rd64_uni_hf.json"])
def test_hugging_face_directories(keys: str, tmp_path: Path) -> None:
    folder, target = tmp_path / "hub", tmp_path / "clipseg.safetensors"
    folder.mkdir()
    state = full_size_state(keys)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"extract_layers": [3, 6, 9]}))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"size": {"height": 352, "width": 352}})
    )
    assert main(["convert", str(folder), str(target)]) == 0
    loaded = load_model(target)
    model = loaded.model
    assert isinstance(model, CLIPSeg) and model.config.refined_upsampling == ("refined" in keys)
    check_tensors(loaded, state)
    assert_equal_to_hugging_face(loaded, state, refined="refined" in keys)


def convert_in_a_process(source: Path, target: Path, *options: str) -> int:
    """Run ``ovps convert`` alone and return the most memory it held beyond an idle Python with torch, bytes."""
    code = (
        "import sys, resource; from ovps_core.cli import main; from ovps_core.checkpoints import convert; "
        "idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; status = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "convert", str(source), str(target), *options]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(printed.splitlines()[-1]) * 1024


def check_tensors(loaded: LoadedModel, state: dict[str, torch.Tensor]) -> None:
    """Every used tensor of the released state is in the model, and the model has no others."""
    ours = full_state(loaded.model, loaded.query_encoder)
    assert {ovps_key(name) for name in state} - {None} == set(ours)
    for name in (
        "decoder.film_mul.weight",
        "decoder.reduces.0.weight",
        "decoder.layers.2.mlp.fc1.weight",
    ):
        torch.testing.assert_close(ours[ovps_key(name)], state[name])
    query = state["decoder.layers.1.self_attn.q_proj.weight"]
    torch.testing.assert_close(ours["decoder.blocks.1.qkv.weight"][: len(query)], query)


def assert_equal_to_direct_evaluation(model: PartCLIPSeg, state: dict[str, torch.Tensor]) -> None:
    """Film layer and adapter computed from the released tensors alone equal the model's."""
    tokens, condition = torch.randn(1, 1, 5, 64), torch.randn(1, 512)
    mul = condition @ state["decoder.film_mul.weight"].T + state["decoder.film_mul.bias"]
    add = condition @ state["decoder.film_add.weight"].T + state["decoder.film_add.bias"]
    torch.testing.assert_close(
        model.decoder.film(tokens, condition)[0, 0], mul * tokens[0, 0] + add
    )
    x = torch.randn(5, 768)
    up = (x @ state["visual_adapter.fc.0.weight"].T).relu() @ state["visual_adapter.fc.2.weight"].T
    torch.testing.assert_close(model.adapter(x), 0.8 * x + 0.2 * up.relu())


@torch.no_grad()
def assert_equal_to_hugging_face(
    loaded: LoadedModel, state: dict[str, torch.Tensor], *, refined: bool
) -> None:
    """The converted network and Hugging Face's give the same logits for the same words and pixels."""
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPSegConfig(
        vision_config={"patch_size": 16}, use_complex_transposed_convolution=refined
    )
    peer = transformers.CLIPSegForImageSegmentation(config).eval()
    peer.load_state_dict(state)
    pixels = torch.randn(1, 3, 352, 352)
    model, text_encoder = loaded.model, loaded.query_encoder.text_encoder
    assert text_encoder is not None
    tokens = text_encoder.tokenizer(["the handle of a mug"])
    theirs = peer(pixel_values=pixels, input_ids=tokens, interpolate_pos_encoding=True).logits
    words = text_encoder(tokens)
    ours = model.decode(model.encode(pixels), Conditions.names_only(words)).names
    torch.testing.assert_close(ours.squeeze(), theirs.squeeze(), rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def small_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded small PartCLIPSeg as a released directory."""
    folder = tmp_path_factory.mktemp("released")
    config = json.loads((FIXTURES / "partclipseg" / "config.json").read_text())["config"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda s: s.pop("decoder.film_add.bias"), "1 missing: decoder.film.add.bias"),
        (
            lambda s: s.update({"decoder.extra.weight": torch.zeros(1)}),
            "1 unexpected: decoder.extra.weight",
        ),
        (
            lambda s: s.update({"decoder.film_add.bias": torch.zeros(3)}),
            r"decoder.film.add.bias is \[3\], expected \[16\]",
        ),
        (lambda s: s.pop("clip.vision_model.embeddings.class_embedding"), "class_embedding"),
    ],
)
def test_an_altered_file_is_refused_with_the_keys(
    spoil, says: str, small_source: Path, tmp_path: Path
) -> None:
    state = dict(load_file(FIXTURES / "partclipseg" / "seed0_state.safetensors"))
    spoil(state)
    save_file(state, small_source / "model.safetensors")
    target = tmp_path / "never.safetensors"
    with pytest.raises(CheckpointError, match=says):
        convert(small_source, target, vocabulary="pascal_part_116")
    assert not target.exists()


def test_other_files_are_refused(
    small_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    target = str(tmp_path / "never.safetensors")
    malicious = tmp_path / "malicious.pth"
    torch.save({"model": {"x": subprocess.Popen}}, malicious)
    for content, says in (
        (b"", "is empty"),
        (b"\x80\x04garbage", "damaged"),
        (b"abc", "damaged"),
        (pickle.dumps({"a": 1}), "no file of PyTorch"),
        (b"<html>404</html>", "is a web page"),
    ):
        broken = tmp_path / "broken.pth"
        broken.write_bytes(content)
        assert main(["convert", str(broken), target]) == 1
        said = capsys.readouterr().err
        assert says in said and "weights_only" not in said
    assert main(["convert", str(malicious), target]) == 1
    said = capsys.readouterr().err
    assert ".Popen" in said and "not loaded for safety" in said
    assert "weights_only" not in said
    assert main(["convert", str(tmp_path / "nothing.pth"), target]) == 1
    assert "no weights at" in capsys.readouterr().err
    save_file({"resnet.conv1": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert main(["convert", str(tmp_path / "other.safetensors"), target]) == 1
    assert "resnet.conv1" in capsys.readouterr().err
    save_file(
        load_file(FIXTURES / "partclipseg" / "seed0_state.safetensors"),
        small_source / "model.safetensors",
    )
    assert main(["convert", str(small_source), target]) == 1
    assert "--vocabulary" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "optimizer": {}},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}, "epoch": 3},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
    ],
    ids=["plain", "nested", "data parallel", "Lightning", "data parallel, nested"],
)
def test_a_state_is_found_however_a_training_framework_keeps_it(
    wrap: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path
) -> None:
    state = {"clip.weight": torch.ones(2), "decoder.bias": torch.zeros(1)}
    torch.save(wrap(state), tmp_path / "weights.pth")
    found = read_state(tmp_path / "weights.pth")
    assert found.keys() == state.keys() and torch.equal(found["clip.weight"], torch.ones(2))


def test_a_file_without_tensors_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "optimizer": {}}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="holds no tensors, but epoch, optimizer"):
        read_state(tmp_path / "weights.pth")


def test_hub_names_are_fetched_through_the_hubs_own_cache(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--somebody--small-clipseg" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123abcd")
    small = FIXTURES / "clipseg"
    shutil.copy(small / "seed0_refined_state.safetensors", snapshot / "model.safetensors")
    shutil.copy(small / "seed0_refined_config.json", snapshot / "config.json")
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}

    def ovps(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ovps_core", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    done = ovps("convert", "somebody/small-clipseg", str(tmp_path / "small.safetensors"))
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path / "small.safetensors").info.name == "small"
    absent = ovps("convert", "somebody/absent", str(tmp_path / "absent.safetensors"))
    assert absent.returncode == 1 and "huggingface.co/somebody/absent" in absent.stderr


def test_the_original_decoder_files() -> None:
    names = {
        "film_mul.weight": "decoder.film.mul.weight",
        "reduces.2.bias": "decoder.reduces.2.bias",
        "trans_conv.4.weight": "upsample.4.weight",
        "trans_conv.weight": "upsample.0.weight",
        "blocks.1.self_attn.in_proj_weight": "decoder.blocks.1.qkv.weight",
        "blocks.1.self_attn.out_proj.bias": "decoder.blocks.1.out.bias",
        "blocks.0.linear2.weight": "decoder.blocks.0.mlp.2.weight",
        "blocks.0.norm1.weight": "decoder.blocks.0.norm1.weight",
    }
    state = {name: torch.zeros(1) for name in [*names, "reduce.weight", "clip_model.visual.proj"]}
    assert set(from_original_clipseg(state)) == set(names.values())


def test_models_are_listed(capsys: pytest.CaptureFixture, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OVPS_MODELS", str(tmp_path))
    (tmp_path / "mine.safetensors").touch()
    assert main(["models", "--paths"]) == 0
    printed = capsys.readouterr().out
    for word in (
        "ovps-tiny",
        "clipseg-rd64-refined",
        "partclipseg-pascal116",
        "mine.safetensors",
        "MIT",
    ):
        assert word in printed
