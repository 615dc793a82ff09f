"""The code in docs/research.md runs: another backbone, another loss, another model family."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.paths import ROOT, TESTS
from helpers.toy_models import TOY, build
from safetensors.torch import load_file

from ovps_core import PartSegmenter
from ovps_core.checkpoints import CheckpointInfo, save_model
from ovps_core.checkpoints.registry import known_models
from ovps_core.cli import main
from ovps_core.language.vocabulary import IGNORE, Vocabulary
from ovps_core.losses.partclipseg import LossWeights, PartCLIPSegLoss
from ovps_core.models.families import FAMILIES
from ovps_core.models.partclipseg.model import PartCLIPSegConfig
from ovps_core.structures.masks import mask_iou

PAGE = ROOT / "docs" / "research.md"


def example(heading: str) -> dict[str, Any]:
    """The names that the Python block below a heading defines."""
    text = PAGE.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    block = re.search(r"```python\n(.*?)```", text, re.S)
    assert block
    names: dict[str, Any] = {"__name__": "research"}
    exec(compile(block[1], f"{PAGE}: {heading}", "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_another_backbone_gives_maps(name: str) -> None:
    maps = example("Change the backbone")["maps_with_backbone"](name)
    assert maps.shape == (1, 1, 64, 64) and bool(maps.isfinite().all())


def test_a_released_file_is_converted_as_the_page_says(tmp_path: Path) -> None:
    state = load_file(TESTS / "fixtures" / "partclipseg" / "seed0_state.safetensors")
    content = {f"partclipseg_model.{name}": tensor for name, tensor in state.items()}
    torch.save({"model": content}, tmp_path / "RELEASED.pth")
    said = re.findall(r"ovps convert RELEASED.pth .*?(?=[`\n])", PAGE.read_text("utf-8"))
    advice = [m.how_to_get() for m in known_models() if m.name.startswith("partclipseg")]
    said += [re.sub("`.*", "", text.split("`", 1)[1]) for text in advice]
    assert len(said) == 5
    for line in said:
        words = shlex.split(line)[2:]
        words[:2] = str(tmp_path / "RELEASED.pth"), str(tmp_path / "partclipseg.safetensors")
        assert main(["convert", *words]) == 0, line


def test_another_loss_trains() -> None:
    pytest.importorskip("lightning", reason="the extra train is not installed")
    from training.clipseg.recipe import OptimRecipe

    model, query_encoder, _ = build("partclipseg", PartCLIPSegConfig(**TOY))
    vocabulary = Vocabulary("mugs", ("mug",), (("mug", "rim"), ("mug", "handle")))
    training = example("Add a loss")["WithDice"](
        model,
        query_encoder.text_encoder,
        vocabulary,
        OptimRecipe(),
        criterion=PartCLIPSegLoss(LossWeights(), model.config.corrections),
    )
    size = model.spec.preprocessing.size
    pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    labels = torch.full((1, *size), IGNORE)
    labels[:, 20:60, 20:60], labels[:, 30:50, 60:80] = 0, 1
    batch = pixels, labels, torch.where(labels == IGNORE, IGNORE, 0)
    training.dice_weight = 10.0  # of the whole loss, so that a few steps show it

    def dice() -> float:
        with torch.no_grad():
            with_dice, _ = training.losses(batch)
            without, _ = super(type(training), training).losses(batch)
        return float(with_dice.total - without.total) / training.dice_weight

    before = dice()
    trained = [parameter for parameter in training.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=5e-3)
    for _ in range(25):
        optimizer.zero_grad()
        training.losses(batch)[0].total.backward()
        optimizer.step()
    assert 0 < dice() < 0.9 * before < 1
    training.on_validation_epoch_start()
    training.validation_step(batch, 0)


def test_another_model_family_answers(tmp_path: Path) -> None:
    names = example("Add a model family")
    try:
        config = names["ColourConfig"]()
        model = names["ColourModel"](config)
        path = tmp_path / "mine.safetensors"
        save_model(path, model.state_dict(), CheckpointInfo("mine", "colour", config))
        segmenter = PartSegmenter.from_pretrained(path, backend="torch")
        picture = np.zeros((120, 160, 3), np.uint8)
        picture[30:90, 40:120] = 0, 255, 0
        masks = segmenter.segment(picture, ["green", "red"])
        assert not masks.of("red")
        assert mask_iou(masks.mask_of("green"), picture[..., 1] > 0) > 0.99
    finally:
        del FAMILIES["colour"]
