"""A recipe trains: scores rise, attention losses fall, the result loads, and a run can be resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
import yaml
from helpers.mug_pictures import SIZE, recipe_file

from ovps_core.checkpoints import load_model
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import ConfigError, DatasetError
from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.backbones.timm_backbone import TimmBackbone
from ovps_core.models.interface import Preprocessing
from ovps_core.models.partclipseg.corrections import Corrections
from ovps_core.models.partclipseg.model import PartCLIPSeg
from training.backbone import PACKAGE, imagenet_weights
from training.compact.recipe import CompactRecipe
from training.data import PartImages, open_data
from training.families import FAMILIES, load_recipe
from training.partclipseg.network import build_network
from training.partclipseg.recipe import PartCLIPSegRecipe
from training.recipe import RECIPES, DataRecipe, as_dict
from training.report import first_and_last, read_curves
from training.train import main


@pytest.mark.slow
def test_a_few_pictures_are_learned_by_heart_and_a_run_goes_on(mugs: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    output = tmp_path / "runs"
    arguments = ["--data", str(mugs), "--output", str(output)]
    assert main(["--config", str(recipe_file(tmp_path)), *arguments]) == 0
    run = output / "mugs"
    curves = read_curves(run / "csv" / "metrics.csv")
    assert curves["score/part_miou"][1][-1] > 0.8
    for name in ("loss/total", "loss/separation", "loss/enhancement"):
        first, last = first_and_last(curves[name], 2)
        assert last < first, name
    assert cv2.imread(str(run / "curves.png")) is not None
    assert cv2.imread(str(run / "answers.png")) is not None

    best = load_model(run / "best.safetensors").info
    assert best.config == load_model(run / "model.safetensors").info.config
    card = (run / "MODEL_CARD.md").read_text()
    assert "Trained parts: mug body, mug round handle." in card and "Best: " in card

    model, _, info = load_model(run / "model.safetensors")
    assert isinstance(model, PartCLIPSeg)
    assert info.config == model.config
    assert model.config.trained_object_parts == (("mug", "body"), ("mug", "round handle"))
    assert model.config.corrections == Corrections()

    # the same run, asked for a little more
    longer = recipe_file(tmp_path, optim={"steps": 124})
    assert main(["--config", str(longer), *arguments, "--resume"]) == 0
    steps = torch.load(run / "last.ckpt", weights_only=True)["global_step"]
    assert steps == 124


def test_a_coco_file_with_names_only_is_the_parts_of_the_named_object(mugs: Path) -> None:
    data = open_data(DataRecipe(object="mug"), mugs)
    assert data.vocabulary.object_parts == (("mug", "body"), ("mug", "round handle"))
    sample = data.train[0]()
    assert sample.parts[20, 20] == 0 and sample.parts[25, 40] == 1 and sample.parts[0, 0] == -1
    assert sample.objects[20, 20] == sample.objects[25, 40] == 0
    with pytest.raises(DatasetError, match="names neither an object nor a part"):
        CocoFolder(mugs)


def test_released_training_swaps_colours_and_keeps_labels_with_pixels(mugs: Path) -> None:
    data = open_data(DataRecipe(object="mug"), mugs)
    recipe = DataRecipe(flip=1.0, min_crop=1.0, colour_jitter=0.0)
    preprocessing = Preprocessing((SIZE, SIZE), (0, 0, 0), (1, 1, 1))
    straight, pairs, objects = PartImages(data.train, None, preprocessing)[0]
    flipped, flipped_pairs, _ = PartImages(
        data.train, recipe, preprocessing, vocabulary=data.vocabulary
    )[0]
    torch.testing.assert_close(flipped, straight.flip(-1))
    assert torch.equal(flipped_pairs, pairs.flip(-1))
    swapped, _, _ = PartImages(data.train, None, preprocessing, rgb=False)[0]
    torch.testing.assert_close(swapped, straight.flip(0))
    assert bool((straight[2][pairs == 0] > 0.7).all()), "the body is blue in RGB"
    _, shifted, _ = PartImages(data.train, None, preprocessing, unshifted=False)[0]
    assert shifted.shape == objects.shape


@pytest.mark.parametrize(
    "path", sorted(RECIPES.glob("partclipseg/*.yaml")), ids=lambda path: path.stem
)
def test_recipes_that_come_along_can_be_read(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    corrected = recipe.corrections == Corrections()
    assert corrected != path.stem.endswith("released")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type: partclipseg\noptim: {step: 3}", "no such key step; allowed are batch, lr"),
        ("type: partclipseg\noptim: {steps: many}", "optim: steps should be int, got 'many'"),
        ("type: partclipseg\noptim: 3", "optim should hold keys"),
        ("type: partclipseg\noptim: {steps: 0}", "optim: steps should be at least 1, got 0"),
        ("type: openseed\noptim: {batch: 0}", "optim: batch should be at least 1, got 0"),
        ("type: catseg\noptim: {accumulate: 0}", "optim: accumulate should be at least 1"),
        ("type: compact\noptim: {batch: 0}", "optim: batch should be at least 1, got 0"),
        ("- a", "should hold keys such as"),
        ("a: [", "is not YAML"),
        ("type: partclipseg\nscore_on: test", "expected val or train"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_recipe(path)


def test_the_command_answers_mistakes_with_one_line(
    tmp_path: Path, mugs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(tmp_path / "none.yaml")]) == 1
    assert "cannot read the recipe" in capsys.readouterr().err
    arguments = ["--config", str(recipe_file(tmp_path)), "--data", str(mugs)]
    assert main([*arguments, "--output", str(tmp_path), "--resume"]) == 1
    assert "nothing to resume" in capsys.readouterr().err


def test_an_image_tower_starts_from_the_imagenet_weights_of_the_installed_package() -> None:
    pytest.importorskip(PACKAGE)
    recipe = load_recipe("photographs-small")
    assert isinstance(recipe, PartCLIPSegRecipe)
    words = Vocabulary("mugs", ("mug",), (("mug", "handle"),))
    model, _ = build_network(recipe.model, recipe.corrections, words)
    assert isinstance(model.backbone, TimmBackbone)
    weights = imagenet_weights("efficientnet_lite0")
    assert torch.equal(model.backbone.tower.conv_stem.weight, weights["conv_stem.weight"])


def test_a_recipe_needs_a_known_type_and_each_family_has_recipes(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    for text in ("optim: {steps: 3}", "type: clip\noptim: {steps: 3}"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="allowed are compact, partclipseg"):
            load_recipe(path)
    folders = {folder.name for folder in RECIPES.iterdir() if any(folder.glob("*.yaml"))}
    assert folders == set(FAMILIES)
    for file in RECIPES.glob("*/*.yaml"):
        assert load_recipe(file.stem).family == file.parent.name


def test_values_of_a_recipe_can_be_replaced_and_a_written_recipe_reads_back(tmp_path: Path) -> None:
    changes = ["optim.lr=1e-3", "optim.phases=[[1, 64, 4]]", "name=mine"]
    recipe = load_recipe("ovps-tiny", changes)
    assert isinstance(recipe, CompactRecipe)
    assert recipe.optim.lr == 1e-3 and recipe.optim.phases == ((1.0, 64, 4),)
    assert recipe.optim.batch == 32, "others keep the file's value"
    released = load_recipe("pascal116-released", ["model.weights="])  # a shell drops the quotes
    assert isinstance(released, PartCLIPSegRecipe) and released.model.weights == ""
    shown = load_recipe("partimagenet-released")
    assert isinstance(shown, PartCLIPSegRecipe)
    assert shown.corrections == replace(Corrections.released(), unshifted_labels=True)
    for each in (recipe, released):
        path = tmp_path / "again.yaml"
        path.write_text(yaml.safe_dump(as_dict(each)))
        assert load_recipe(path) == each
    for change, message in (
        ("optim.lr", "should be KEY=VALUE"),
        ("optim.phases=[[1, 64]]", r"optim: phases\[0\] should hold 3 values"),
        ("data.level=moon", "data: level is 'moon', expected tabletop or wild"),
        ("optim.minutes=0", "optim: expected minutes above 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_recipe("ovps-tiny", [change])
    with pytest.raises(ConfigError, match="neither a YAML file nor one of the recipes"):
        load_recipe("none")


def test_sources_that_a_family_cannot_use_are_refused(
    tmp_path: Path, mugs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mug_recipe = str(recipe_file(tmp_path))
    assert main([mug_recipe, "--data", str(mugs), str(mugs), "--out", str(tmp_path)]) == 1
    assert "takes one --data" in capsys.readouterr().err
    assert main(["ovps-tiny", "--out", str(tmp_path)]) == 1
    assert "--data DIR" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["ovps-tiny", "--data", str(tmp_path / "empty"), "--out", str(tmp_path)]) == 1
    assert "annotations.json is missing" in capsys.readouterr().err
    assert main(["--out", str(tmp_path)]) == 1
    assert "give one recipe" in capsys.readouterr().err
