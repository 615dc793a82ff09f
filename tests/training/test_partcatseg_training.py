"""PartCATSeg and CAT-Seg learn a few pictures, from COCO files and from rendered scenes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from helpers.catseg_recordings import load, losses_of, seeds, vocabulary
from helpers.mug_pictures import SIZE, SMALL
from helpers.toy_models import toy

from ovps_core import PartSegmenter
from ovps_core.checkpoints import CheckpointInfo, load_model, save_model
from ovps_core.checkpoints.convert.partcatseg import catseg_key
from ovps_core.checkpoints.file import full_state
from ovps_core.datasets.part_benchmarks import PART_BENCHMARKS
from ovps_core.errors import CheckpointError, ConfigError, DatasetError
from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.partcatseg import PartCATSegLoss
from ovps_core.models.catseg.model import CATSeg
from ovps_core.models.catseg.text import PromptBankEncoder
from ovps_core.models.partcatseg.corrections import Corrections
from ovps_core.models.partcatseg.model import PartCATSeg
from ovps_core.synthetic.catalogue import HELD_OUT_OBJECT_PARTS
from ovps_core.synthetic.generate import generate
from ovps_core.synthetic.settings import RenderSettings
from training import data_command
from training.backbone import PACKAGE, imagenet_weights
from training.data import open_data
from training.families import load_recipe
from training.optimiser import named_parameters
from training.partcatseg.module import PartCATSegTraining
from training.partcatseg.network import build_network
from training.partcatseg.recipe import CATSegRecipe, OptimRecipe, PartCATSegRecipe
from training.recipe import RECIPES, DataRecipe
from training.report import first_and_last, read_curves
from training.train import main


def small(family: str, **model: Any) -> dict[str, Any]:
    """A recipe that learns in seconds."""
    clip = {**SMALL["model"]["clip"], "text_cfg": {**SMALL["model"]["clip"]["text_cfg"]}}
    clip["text_cfg"]["context_length"] = 20
    return {
        "type": family,
        "name": family,
        "model": {
            "clip": clip,
            "pretrained": "",
            "image_size": SIZE,
            "guidance": "resnet18",
            "guidance_pretrained": False,
            "guidance_size": SIZE,
            "templates": 2,
            "dim": 16,
            "window": 4,
            "guidance_dim": 16,
            "text_guidance_dim": 16,
            "decoder_dims": [16, 16],
            "decoder_guidance_dims": [8, 8],
            "train_towers": True,
            **model,
        },
        "data": SMALL["data"],
        "optim": {
            "steps": 40,
            "batch": 4,
            "lr": 3.0e-3,
            "guidance_lr_factor": 1.0,
            "clip_norm": 1.0,
            "score_every": 0,
        },
        "score_on": "train",
    }


@pytest.mark.slow
@pytest.mark.parametrize("family", ["catseg", "partcatseg"])
def test_a_run_learns_and_its_weights_answer_any_words(
    family: str, mugs: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    path = tmp_path / f"{family}.yaml"
    path.write_text(yaml.safe_dump(small(family)))
    assert main(["--config", str(path), "--data", str(mugs), "--output", str(tmp_path)]) == 0
    run = tmp_path / family
    curves = read_curves(run / "csv" / "metrics.csv")
    first, last = first_and_last(curves["loss/total"], 2)
    assert last < first
    assert curves["score/part_miou_of_masks"][1][-1] > 0.2
    assert (run / "answers.png").is_file()
    loaded = load_model(run / "model.safetensors")
    assert loaded.info.model == family
    assert loaded.info.config.trained_object_parts == (("mug", "body"), ("mug", "round handle"))
    segmenter = PartSegmenter.from_pretrained(run / "model.safetensors", backend="torch")
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    assert segmenter.probabilities(image, ["mug body", "spoon"]).shape[0] == 2


@pytest.mark.parametrize("family", ["catseg", "partcatseg"])
def test_the_samples_of_a_recipe_can_be_shown(family: str, mugs: Path, tmp_path: Path) -> None:
    path, picture = tmp_path / f"{family}.yaml", tmp_path / "seen.png"
    path.write_text(yaml.safe_dump(small(family)))
    arguments = [str(path), "--data", str(mugs), "--out", str(picture), "--count", "2"]
    assert data_command.main(["show", *arguments]) == 0
    assert cv2.imread(str(picture)) is not None


def test_without_guidance_the_same_recipe_builds(mugs: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text(yaml.safe_dump(small("partcatseg", guidance="")))
    recipe = load_recipe(path)
    assert isinstance(recipe, PartCATSegRecipe)
    model, _ = build_network(recipe, vocabulary("partcatseg").seen())
    assert model.guidance is None
    assert len(model.encode(torch.zeros(1, 3, SIZE, SIZE)).levels) == 1


def test_a_guidance_model_may_be_any_timm_network_with_a_pyramid(tmp_path: Path) -> None:
    path = tmp_path / "lite.yaml"
    content = small("catseg", guidance="efficientnet_lite0", guidance_pretrained=True)
    path.write_text(yaml.safe_dump(content))
    pytest.importorskip(PACKAGE)
    recipe = load_recipe(path)
    assert isinstance(recipe, CATSegRecipe)
    model, _ = build_network(recipe, vocabulary("catseg").seen())
    assert model.guidance is not None
    imagenet = imagenet_weights("efficientnet_lite0")
    assert torch.equal(model.guidance.tower.conv_stem.weight, imagenet["conv_stem.weight"])
    sizes = [level.shape[-1] for level in model.encode(torch.zeros(1, 3, SIZE, SIZE)).levels]
    assert sizes == [SIZE // 8, SIZE // 8, SIZE // 4, SIZE // 2]


def test_windows_that_do_not_fit_are_refused_with_those_that_do(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_text(yaml.safe_dump(small("partcatseg", window=6)))
    recipe = load_recipe(path)
    assert isinstance(recipe, PartCATSegRecipe)
    with pytest.raises(ConfigError, match=r"window is 6, .* 8 cells a side; .* them: 2, 4, 8"):
        build_network(recipe, vocabulary("partcatseg").seen())


def test_rendered_scenes_are_scored_on_object_parts_that_training_does_not_see(
    tmp_path: Path,
) -> None:
    for split in ("train", "val"):
        generate(tmp_path / split, RenderSettings("tabletop", split, count=4, size=64))
    data = open_data(DataRecipe(format="rendered"), tmp_path / "train")
    trained, scored = data.vocabulary, data.val_vocabulary
    assert scored is not None and scored.seen().object_parts == trained.object_parts
    held_out = {pair for pair in scored.object_parts if pair not in trained.object_parts}
    assert held_out == set(HELD_OUT_OBJECT_PARTS) and not scored.is_seen.all()
    for words, reads in ((trained, data.train), (scored, data.val)):
        for read in reads:
            sample = read()
            labelled = sample.parts != IGNORE
            assert labelled.any()
            owners = words.object_index[sample.parts[labelled]]
            assert (owners == sample.objects[labelled]).all()


def test_rendered_scenes_can_be_learned_for_a_few_objects_only(tmp_path: Path) -> None:
    generate(tmp_path / "train", RenderSettings(level="tabletop", count=4, size=64))
    recipe = DataRecipe(format="rendered", objects=("pot", "jar"))
    data = open_data(recipe, tmp_path / "train")
    assert data.vocabulary.objects_with_parts == ("jar", "pot")
    assert ("pot", "knob") not in data.vocabulary.object_parts
    assert max(read().objects.max() for read in data.train) <= 1
    wrong = dataclasses.replace(recipe, objects=("pott",))
    with pytest.raises(DatasetError, match=r"no object pott; .* may list .* pot,"):
        open_data(wrong, tmp_path / "train")


@pytest.mark.parametrize("released", [True, False])
def test_the_second_branch_starts_from_the_first_as_the_correction_says(
    released: bool, tmp_path: Path
) -> None:
    from helpers.toy_models import write_toy

    weights = write_toy("catseg", tmp_path / "catseg.safetensors")
    config = toy("catseg").info.config
    sizes = ("clip", "image_size", "guidance", "guidance_size", "templates", "dim", "window")
    channels = ("guidance_dim", "text_guidance_dim", "decoder_dims", "decoder_guidance_dims")
    values = {name: getattr(config, name) for name in (*sizes, *channels)}
    values |= {"decoder_dims": [32, 16], "decoder_guidance_dims": [12, 8]}
    content: dict[str, Any] = {"type": "partcatseg", "model": {**values, "weights": str(weights)}}
    if released:
        content["corrections"] = "released"
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    recipe = load_recipe(path)
    assert isinstance(recipe, PartCATSegRecipe)
    model, _ = build_network(recipe, vocabulary("partcatseg").seen())
    assert isinstance(model, PartCATSeg)
    old = load_model(weights).model
    assert isinstance(old, CATSeg)
    assert torch.equal(model.branch.embed.weight, old.branch.embed.weight)
    same = torch.equal(model.pair_branch.embed.weight, model.branch.embed.weight)
    assert same is not released


@pytest.mark.parametrize("base", ["resnet18", "efficientnet_lite0"])
def test_weights_with_another_guidance_leave_the_published_one(base: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGE)
    own, old = small("catseg", guidance="efficientnet_lite0", guidance_pretrained=True), None
    for weights in ("", str(tmp_path / "base.safetensors")):
        changes = (
            {"weights": weights} if weights else {"guidance": base, "guidance_pretrained": False}
        )
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({**own, "model": {**own["model"], **changes}}))
        recipe = load_recipe(path)
        assert isinstance(recipe, CATSegRecipe)
        model, query_encoder = build_network(recipe, vocabulary("catseg").seen())
        if old is None:
            old, state = model, full_state(model, query_encoder)
            info = CheckpointInfo("base", "catseg", model.config)
            save_model(tmp_path / "base.safetensors", state, info)
    assert old is not None and old.guidance is not None and model.guidance is not None
    assert torch.equal(model.branch.embed.weight, old.branch.embed.weight)
    stem = model.guidance.tower.conv_stem.weight
    same = base == "efficientnet_lite0"
    wanted = imagenet_weights("efficientnet_lite0")["conv_stem.weight"]
    assert torch.equal(stem, old.guidance.tower.conv_stem.weight if same else wanted)
    wider = {**own["model"]["clip"], "embed_dim": 64}
    content = {**own, "model": {**own["model"], "weights": weights, "clip": wider}}
    path.write_text(yaml.safe_dump(content))
    recipe = load_recipe(path)
    assert isinstance(recipe, CATSegRecipe)
    with pytest.raises(CheckpointError, match="give `clip` its sizes"):
        build_network(recipe, vocabulary("catseg").seen())


@pytest.mark.parametrize("seed", seeds("partcatseg")[:1])
def test_the_released_tensors_are_trained_and_norms_do_not_decay(seed: str) -> None:
    loaded, _ = load("partcatseg", seed)
    assert isinstance(loaded.model, PartCATSeg)
    text_encoder = loaded.query_encoder.text_encoder
    assert isinstance(text_encoder, PromptBankEncoder)
    training = PartCATSegTraining(
        loaded.model,
        text_encoder,
        vocabulary("partcatseg").seen(),
        OptimRecipe(),
        PartCATSegLoss(corrections=Corrections.released()),
    )
    parameters = dict(named_parameters(loaded.model, text_encoder))
    ours = {n for n, p in parameters.items() if p.requires_grad}
    released = {catseg_key(name) for name in losses_of("partcatseg", seed)["trainable"]}
    assert ours == released - {None, "background"}
    groups = training.parameter_groups()
    assert sorted({group["lr"] for group in groups}) == pytest.approx([2e-6, 2e-4])
    still = {id(p) for group in groups if not group["weight_decay"] for p in group["params"]}
    norms = {n for n in ours if n and ("norm" in n or n.endswith((".norm1", ".norm2")))}
    assert still == {id(parameters[name]) for name in norms}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*cat*/*.yaml")), ids=lambda path: path.stem)
def test_recipes_that_come_along_can_be_read(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    if isinstance(recipe, PartCATSegRecipe):
        released = recipe.corrections == Corrections.released()
        assert released == path.stem.endswith("released")


@pytest.mark.parametrize("benchmark", PART_BENCHMARKS)
@pytest.mark.parametrize("setting", ["partcatseg", "partcatseg-released", "catseg"])
def test_each_benchmark_is_learned_with_the_numbers_of_the_release(
    benchmark: str, setting: str
) -> None:
    family, _, released = setting.partition("-")
    recipes = [load_recipe(path) for path in RECIPES.glob(f"{family}/*.yaml")]
    (recipe,) = (
        recipe
        for recipe in recipes
        if isinstance(recipe, CATSegRecipe)
        and recipe.data.format == benchmark.replace("_", "-")
        and recipe.name.endswith("released") == bool(released)
    )
    assert recipe.model.weights and recipe.optim == OptimRecipe(score_every=2000)
    optim = recipe.optim
    assert (optim.steps, optim.batch, optim.warmup, optim.seed) == (20_000, 4, 0, 12345678)
    assert (optim.lr, optim.weight_decay, optim.clip_norm) == (2e-4, 1e-4, 0.01)
    plain = DataRecipe(recipe.data.format, workers=recipe.data.workers, val_limit=500)
    if released and benchmark == "partimagenet":  # its code throws the augmentations away
        plain = dataclasses.replace(plain, flip=0, min_crop=1, colour_jitter=0)
    assert recipe.data == plain
