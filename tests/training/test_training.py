"""A recipe trains: scores rise, attention losses fall, the result loads, and a run can be resumed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from ovps_core.checkpoints import load_model
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import ConfigError, DatasetError
from ovps_core.models.interface import Preprocessing
from ovps_core.models.partclipseg.corrections import Corrections
from ovps_core.models.partclipseg.model import PartCLIPSeg
from training.compact.recipe import CompactRecipe
from training.data import PartImages, open_data
from training.families import FAMILIES, load_recipe
from training.recipe import RECIPES, DataRecipe, as_dict
from training.report import first_and_last, read_curves
from training.train import main

SIZE = 64
SMALL = {
    "type": "partclipseg",
    "model": {
        "clip": {
            "embed_dim": 32,
            "vision_cfg": {
                "layers": 3,
                "width": 96,
                "head_width": 32,
                "patch_size": 8,
                "image_size": SIZE,
            },
            "text_cfg": {
                "context_length": 8,
                "vocab_size": 49408,
                "width": 32,
                "heads": 2,
                "layers": 1,
            },
        },
        "pretrained": "",
        "image_size": SIZE,
        "out_indices": [0, 1, 2],
        "dim": 32,
        "heads": 2,
        "mlp_dim": 64,
        "train_towers": True,
    },
    "data": {"object": "mug", "flip": 0, "min_crop": 1, "colour_jitter": 0, "workers": 0},
    "optim": {
        "steps": 120,
        "batch": 4,
        "lr": 2.0e-3,
        "weight_decay": 0,
        "warmup": 10,
        "precision": "32-true",
        "score_every": 0,
    },
    "losses": {"enhancement": 2.0},
    "score_on": "train",
}


@pytest.fixture
def mugs(tmp_path: Path) -> Path:
    """Four pictures of a blue body with a red handle, on its left or right, as a COCO file."""
    generator = np.random.default_rng(0)
    images, annotations = [], []
    (tmp_path / "train").mkdir()
    for number in range(4):
        picture = generator.integers(90, 140, (SIZE, SIZE, 3), dtype=np.uint8)
        left, top = 18 + 3 * number, 14 + 2 * number
        handle = left - 10 if number % 2 else left + 20
        for category, x, y, width, height, colour in (
            (2, left, top, 20, 30, (200, 60, 30)),
            (3, handle, top + 8, 10, 14, (30, 40, 220)),
        ):
            picture[y : y + height, x : x + width] = colour
            corners = [x, y, x + width, y, x + width, y + height, x, y + height]
            entry = {"image_id": number, "category_id": category, "segmentation": [corners]}
            annotations.append({"id": len(annotations), **entry})
        name = f"mug{number}.png"
        cv2.imwrite(str(tmp_path / "train" / name), picture)
        images.append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
    names = ["_background_", "body", "round_handle"]
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "train.json").write_text(json.dumps(content))
    return tmp_path / "train.json"


def recipe_file(folder: Path, **changes: dict[str, object]) -> Path:
    content = {
        key: {**value, **changes.get(key, {})} if isinstance(value, dict) else value
        for key, value in SMALL.items()
    }
    path = folder / "mugs.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


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
    flipped, flipped_pairs, _ = PartImages(data.train, recipe, preprocessing)[0]
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
    released = recipe.corrections == Corrections.released()
    assert released == path.stem.endswith("released")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type: partclipseg\noptim: {step: 3}", "no such key step; allowed are steps, batch"),
        ("type: partclipseg\noptim: {steps: many}", "optim: steps should be int, got 'many'"),
        ("type: partclipseg\noptim: 3", "optim should hold keys"),
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
    released = load_recipe("pascal116-released")
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
    assert main(["ovps-tiny", "--data", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "--val DIR" in capsys.readouterr().err
    assert main(["--out", str(tmp_path)]) == 1
    assert "give one recipe" in capsys.readouterr().err
