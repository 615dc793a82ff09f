"""CLIPSeg learns parts by their phrases, and its weights answer as they did in training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.small_scenes import write_scenes
from helpers.toy_models import TOY_CLIP
from PIL import Image
from torch import Tensor

from ovps_core import PartSegmenter
from ovps_core.checkpoints import CheckpointInfo, load_model, save_model
from ovps_core.checkpoints.file import full_state
from ovps_core.cli import main as ovps
from ovps_core.language.vocabulary import IGNORE, Vocabulary
from ovps_core.models.clipseg.corrections import DataCorrections
from ovps_core.models.clipseg.query_encoder import AdaptedPhraseEncoder
from ovps_core.pipeline.preprocess import to_pixels
from training.clipseg import module
from training.clipseg.module import CLIPSegTraining
from training.clipseg.network import build_network
from training.clipseg.recipe import CLIPSegRecipe, ModelRecipe, OptimRecipe
from training.families import load_recipe
from training.optimiser import named_parameters
from training.recipe import RECIPES
from training.report import read_curves
from training.train import main

MUG = (("mug", "handle"), ("mug", "body"))
WORDS = Vocabulary("mugs", ("mug",), MUG)
SIZE = 64


def network() -> ModelRecipe:
    """Sizes of a network that learns in seconds."""
    clip = {**TOY_CLIP, "text_cfg": {**TOY_CLIP["text_cfg"], "context_length": 16}}
    return ModelRecipe(
        clip=clip, pretrained="", image_size=SIZE, out_indices=(1, 2, 3), dim=16, mlp_dim=32
    )


@pytest.fixture
def training() -> Iterator[CLIPSegTraining]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, query_encoder = build_network(network(), WORDS)
    yield CLIPSegTraining(model, query_encoder.text_encoder, WORDS, OptimRecipe())


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Two noisy images with a bright body and a dark handle."""
    pixels = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) / 4
    labels = torch.full((2, SIZE, SIZE), IGNORE)
    labels[:, 16:48, 16:40], labels[:, 16:48, 40:52] = 1, 0
    pixels += 2.0 * (labels == 1)[:, None] - 2.0 * (labels == 0)[:, None]
    return pixels, labels, torch.where(labels == IGNORE, IGNORE, 0)


def test_a_few_steps_lower_the_loss_and_leave_the_towers_as_they_were(
    training: CLIPSegTraining,
) -> None:
    before = {name: tensor.clone() for name, tensor in training.state_dict().items()}
    groups = module.parameter_groups(training.model, training.text_encoder, OptimRecipe(lr=5e-3))
    optimizer, values = torch.optim.AdamW(groups), []
    for _ in range(12):
        optimizer.zero_grad()
        losses, logits = training.losses(batch())
        losses.total.backward()
        optimizer.step()
        values.append(losses.total.item())
    assert values[-1] < 0.9 * values[0]
    assert logits.object_parts.shape[1] == len(MUG) + 1
    moved = {name for name, each in training.state_dict().items() if not each.equal(before[name])}
    assert {name.split(".")[1] for name in moved} == {"adapter", "decoder", "upsample", "tower"}
    assert {name for name in moved if "tower" in name} == {
        "text_encoder.tower.token_embedding.weight",
        "text_encoder.tower.positional_embedding",
    }


def test_towers_are_trained_if_the_recipe_says_so(training: CLIPSegTraining) -> None:
    whole = CLIPSegTraining(
        training.model, training.text_encoder, WORDS, OptimRecipe(), train_towers=True
    )
    assert all(p.requires_grad for _, p in named_parameters(whole.model, whole.text_encoder))


def test_names_decoded_in_groups_have_the_same_loss_and_gradients(
    training: CLIPSegTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for at_once in (16, 2):
        monkeypatch.setattr(module, "NAMES_AT_ONCE", at_once)
        training.zero_grad()
        losses, logits = training.losses(batch())
        losses.total.backward()
        trained = [p for p in training.parameters() if p.requires_grad and p.grad is not None]
        gradients = torch.cat([p.grad.flatten() for p in trained if p.grad is not None])
        found.append((logits.object_parts.detach(), losses.total.detach(), gradients))
    for whole, grouped in zip(*found, strict=True):
        torch.testing.assert_close(whole, grouped, rtol=1e-4, atol=1e-5)


def test_a_written_file_answers_as_the_network_in_memory(
    training: CLIPSegTraining, tmp_path: Path
) -> None:
    path = tmp_path / "mug.safetensors"
    training.eval()
    model = training.model
    state = full_state(model, AdaptedPhraseEncoder(training.text_encoder, model))
    save_model(path, state, CheckpointInfo("mug", "clipseg", model.config))
    image = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    pixels = to_pixels(image, model.spec.preprocessing)
    unlabelled = torch.full((1, SIZE, SIZE), IGNORE)
    with torch.no_grad():
        maps = training.losses((pixels, unlabelled, unlabelled))[1].object_parts
    segmenter = PartSegmenter.from_pretrained(path, backend="torch", precision="fp32")
    answers = segmenter.probabilities(image, ["mug handle", "mug body", "spoon"])
    assert answers.shape == (3, SIZE, SIZE)
    np.testing.assert_allclose(answers[:2], maps[0, :-1].sigmoid().numpy(), atol=1e-4)
    again = segmenter.engine.run(pixels, segmenter.query_encoder.encode_vocabulary(WORDS)).names
    torch.testing.assert_close(again, maps, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_run_learns_rendered_scenes_is_asked_goes_on_and_is_started_from(
    tmp_path: Path,
) -> None:
    torch.set_num_threads(1)
    write_scenes(tmp_path / "train", MUG, 4)
    write_scenes(tmp_path / "val", (*MUG, ("mug", "rim")), 4)
    words = ["clipseg-rendered", "--data", str(tmp_path / "train"), "--out", str(tmp_path / "runs")]
    small = ["model.backbone=test_efficientnet", "model.backbone_pretrained=false"]
    small += ["model.image_size=64", "model.dim=16", "optim.score_every=2"]
    assert main([*words, "--set", *small, "optim.steps=4"]) == 0
    run = tmp_path / "runs" / "clipseg-rendered"
    curves = read_curves(run / "csv" / "metrics.csv")
    assert {"loss/total", "score/harmonic_miou"} <= set(curves)
    config = load_model(run / "model.safetensors").info.config
    assert config.trained_object_parts == MUG and config.image_size == 64
    picture, answer = tmp_path / "picture.png", tmp_path / "answer.png"
    Image.new("RGB", (80, 60)).save(picture)
    asked = ["segment", str(picture), "mug handle", "--model", str(run / "model.safetensors")]
    assert ovps([*asked, "-o", str(answer), "--backend", "torch"]) == 0 and answer.is_file()
    assert main([*words, "--resume", "--set", *small, "optim.steps=6"]) == 0
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 6
    weights = f"model.weights={run / 'model.safetensors'}"
    assert main([*words, "--set", weights, "name=second", "optim.steps=1"]) == 0


@pytest.mark.parametrize("path", sorted(RECIPES.glob("clipseg/*.yaml")), ids=lambda path: path.stem)
def test_recipes_that_come_along_can_be_read(path: Path) -> None:
    recipe = load_recipe(path)
    assert isinstance(recipe, CLIPSegRecipe) and recipe.name == path.stem
    corrected = recipe.corrections == DataCorrections()
    assert corrected != path.stem.endswith("released")
    if not path.stem.endswith("rendered"):
        assert recipe.model.weights == "clipseg-rd64-refined"
