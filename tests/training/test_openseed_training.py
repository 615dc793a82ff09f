"""An OpenSeeD learns objects, stuff and boxes from COCO files, and decodes masks from boxes afterwards."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.object_pictures import SIZE, write_pictures
from helpers.toy_models import toy

from ovps_core import ObjectSegmenter
from ovps_core.datasets.coco_objects import CocoObjects
from ovps_core.errors import CheckpointError, ConfigError, UsageError
from ovps_core.language.object_names import ObjectNames
from ovps_core.losses.matching import HungarianMatcher, ObjectTargets
from ovps_core.losses.openseed import OpenSeeDLoss, OpenSeeDLosses
from ovps_core.models.interface import Preprocessing
from ovps_core.models.objects import ObjectPredictions
from ovps_core.models.openseed.config import OpenSeeDConfig
from ovps_core.models.openseed.corrections import Corrections
from ovps_core.models.openseed.heads import Predictions
from ovps_core.models.openseed.model import OpenSeeD
from ovps_core.models.openseed.text import NameEncoder
from training.families import load_recipe
from training.openseed.data import ObjectCrops, collate
from training.openseed.mask_assistance import with_assisting_masks
from training.openseed.module import OpenSeeDTraining, objects_found
from training.openseed.network import build_network
from training.openseed.prompts import random_prompt
from training.openseed.recipe import (
    DataRecipe,
    LossRecipe,
    ModelRecipe,
    OpenSeeDRecipe,
    OptimRecipe,
)
from training.openseed.run import prepare
from training.recipe import RECIPES, as_dict, build_recipe, find_recipe
from training.report import first_and_last, read_curves
from training.run import DataSources
from training.run_record import RunRecord
from training.train import main


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_few_pictures_are_learned_by_heart(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data = write_pictures(tmp_path)
    assert main(["openseed-overfit", "--data", str(data), "--output", str(tmp_path)]) == 0
    run = tmp_path / "openseed-overfit"
    curves = read_curves(run / "csv" / "metrics.csv")
    assert curves["score/found"][1][-1] > 0.8
    for name in ("loss/total", "loss/classes", "loss/masks"):
        first, last = first_and_last(curves[name], 2)
        assert last < first / 2, name

    card = (run / "MODEL_CARD.md").read_text()
    assert "ovps detect PICTURE" in card and "Trained parts" not in card
    segmenter = ObjectSegmenter.from_pretrained(run / "model.safetensors")
    picture = tmp_path / "train" / "0.png"
    mug = np.zeros((SIZE, SIZE), bool)
    mug[6:30, 4:24] = True
    (best, *_) = segmenter.detect(picture, ["mug", "knife"]).of("mug")
    assert _iou(best.full(SIZE, SIZE), mug) > 0.5
    decoded = segmenter.decode_masks(picture, [(4, 6, 24, 30)], ["mug"]).objects
    assert decoded and _iou(decoded[0].full(SIZE, SIZE), mug) > 0.5
    (wall,) = segmenter.panoptic(picture, ["mug", "knife"], ["wall"]).of("wall")
    assert not wall.is_thing and wall.area > SIZE * SIZE / 4


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.slow
def test_a_step_sees_a_batch_of_masks_and_one_of_boxes_and_a_run_goes_on(tmp_path: Path) -> None:
    files = [write_pictures(tmp_path), write_pictures(tmp_path, "boxes", boxes_only=True)]
    arguments = ["openseed-overfit", "--data", *map(str, files), "--output", str(tmp_path)]
    few = ["--set", "optim.batch=2", "optim.score_every=0"]
    assert main([*arguments, *few, "optim.steps=2"]) == 0
    assert main([*arguments, "--resume", *few, "optim.steps=3"]) == 0
    last = torch.load(tmp_path / "openseed-overfit" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 3


def test_an_object_is_found_if_it_is_among_the_best_answers_however_low_their_scores() -> None:
    boxes = torch.tensor([[[0.2, 0.2, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]]])
    scores = torch.tensor([[[0.04, 0.01], [0.01, 0.02], [0.01, 0.03]]])
    predictions = ObjectPredictions(boxes, scores, torch.zeros(1, 3, 4, 4))
    target = ObjectTargets(torch.tensor([0, 1]), boxes[0, :2], None)
    assert objects_found(predictions, 0, target, (4, 4)).tolist() == [True, False]
    scores[0, 1, 1] = 0.04
    assert objects_found(predictions, 0, target, (4, 4)).tolist() == [True, True]


def test_the_best_weights_are_chosen_by_the_score_that_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("openseed-overfit")
    assert isinstance(recipe, OpenSeeDRecipe)
    run = prepare(recipe, DataSources((write_pictures(tmp_path),)))
    logged: list[str] = []
    monkeypatch.setattr(run.module, "log", lambda name, value, **_: logged.append(name))
    monkeypatch.setattr(run.module, "all_gather", lambda counts: counts)
    run.module.on_validation_epoch_end()
    assert run.scored_on and set(logged) & set(run.best_by)


@pytest.mark.parametrize(("scale", "copy_paste"), [(0.5, 0), (1.0, 0), (1.7, 0), (1.0, 1)])
def test_boxes_and_masks_of_a_crop_belong_to_its_pixels(
    scale: float, copy_paste: float, tmp_path: Path
) -> None:
    data = CocoObjects(write_pictures(tmp_path))
    recipe = DataRecipe(
        size=SIZE, min_scale=scale, max_scale=scale, flip=0.5, copy_paste=copy_paste
    )
    plain = Preprocessing((SIZE, SIZE), (0, 0, 0), (1, 1, 1))
    crops = ObjectCrops(data, recipe, plain, augment=True)
    torch.manual_seed(0)
    for index in range(8):
        pixels, targets = crops[index % 4]
        assert targets.masks is not None and len(targets.masks) == len(targets.labels)
        assert int(targets.masks.sum(0).max()) <= 2, "an object and the wall behind it"
        assert len(targets.labels) <= 3 or copy_paste
        for label, box, mask in zip(
            targets.labels, targets.boxes_cxcywh, targets.masks, strict=True
        ):
            if label == 0:
                inside = cv2.erode(mask.numpy().astype(np.uint8), np.ones((3, 3))) > 0
                assert (pixels[0][torch.from_numpy(inside)] > 0.6).all(), "mugs are red"
            centre, side = box[:2] * SIZE, box[2:] * SIZE
            rows, columns = mask.nonzero().T
            assert columns.min() == pytest.approx((centre - side / 2)[0].item(), abs=1e-3)
            assert rows.max() + 1 == pytest.approx((centre + side / 2)[1].item(), abs=1e-3)


def test_a_mirror_swaps_left_and_right_names(tmp_path: Path) -> None:
    file = write_pictures(tmp_path)
    content = json.loads(file.read_text())
    recipe = DataRecipe(size=SIZE, min_scale=1, max_scale=1, flip=1.0)
    plain = Preprocessing((SIZE, SIZE), (0, 0, 0), (1, 1, 1))
    for names, labels in (
        (("left glove", "right glove"), [2, 1, 0]),
        (("left glove", "knife"), [2, 0, 1]),  # not mirrored: there is no word for a right glove
    ):
        for category, name in zip(content["categories"], names, strict=False):
            category["name"] = name
        file.write_text(json.dumps(content))
        crops = ObjectCrops(CocoObjects(file), recipe, plain, augment=True)
        assert crops[0][1].labels.tolist() == labels


def test_prompts_are_plain_words() -> None:
    prompts = {random_prompt("floor-wood") for _ in range(20)}
    assert len(prompts) > 1 and all("wood floor" in prompt for prompt in prompts)
    assert "the wall." in {random_prompt("wall-other-merged").split(" ", 3)[-1] for _ in range(400)}
    synonyms = {random_prompt("Cup/Mug, big") for _ in range(50)}
    assert all("cup" in prompt or "mug big" in prompt for prompt in synonyms)


def step_losses(corrections: Corrections) -> tuple[OpenSeeD, OpenSeeDLosses]:
    """Losses of the toy on a picture with a mug and a wall, after a backward pass through the decoder."""
    loaded = toy("openseed")
    model = OpenSeeD(replace(loaded.info.config, corrections=corrections))
    encoder = loaded.query_encoder.text_encoder
    assert isinstance(encoder, NameEncoder)
    vocabulary = ObjectNames(("mug", "knife"), ("wall",))
    recipe = LossRecipe(num_points=64)
    module = OpenSeeDTraining(model, encoder, [vocabulary], None, OptimRecipe(), recipe)
    masks = torch.zeros(2, SIZE, SIZE)
    masks[0, 8:30, 8:30] = masks[1, 40:] = 1
    boxes = torch.tensor([[0.3, 0.3, 0.35, 0.35], [0.5, 0.8, 1.0, 0.4]])
    targets = [ObjectTargets(torch.tensor([0, 2]), boxes, masks)]
    losses = module.losses((torch.randn(1, 3, SIZE, SIZE), targets), vocabulary)
    torch.stack([each.classes for each in losses.layers]).sum().backward()
    return model, losses


def test_corrections_change_what_they_name() -> None:
    corrected, losses = step_losses(Corrections())
    released, released_losses = step_losses(Corrections.released())
    assert corrected.stuff_contents.grad is not None and released.stuff_contents.grad is None
    cells = 8 * 8 + 4 * 4 + 2 * 2 + 1  # so many queries are selected from the picture
    for (match,) in losses.matches:
        assert match.queries[match.objects == 0] < cells, "the mug is a thing"
        assert match.queries[match.objects == 1] >= cells, "the wall is stuff"
    # 100 denoising slots and 3 names: the released mean over names times slots is 33 times the sum.
    ratio = released_losses.denoising[0].classes / losses.denoising[0].classes
    assert ratio.item() > 5


def test_without_masks_no_set_of_queries_matches_stuff_queries() -> None:
    torch.manual_seed(0)
    model = toy("openseed").model
    assert isinstance(model, OpenSeeD)
    targets = [ObjectTargets(torch.tensor([0, 1]), torch.full((2, 4), 0.3))]
    encoded, names = model.encode(torch.randn(1, 3, SIZE, SIZE)), torch.eye(32)[:3]
    predictions = model.predict_layers(encoded, names)
    objects = predictions.object_queries
    # stuff queries that fit the objects better than any other
    predictions.intermediate.class_logits.data[:, objects:] = 9.0
    predictions.intermediate.boxes_cxcywh.data[:, objects:] = 0.3
    for corrections, stuff in ((Corrections(), False), (Corrections.released(), True)):
        loss = OpenSeeDLoss(num_points=16, corrections=corrections)
        (match,) = loss(predictions, targets, num_things=2).matches[-1]
        assert (match.queries >= objects).tolist() == [stuff, stuff]


def test_a_run_from_before_a_switch_goes_on_without_it() -> None:
    values = as_dict(load_recipe(find_recipe("openseed-small")))
    earlier = copy.deepcopy(values)
    del earlier["corrections"]["selected_objects_by_boxes"]
    config = asdict(toy("openseed").info.config)
    older = copy.deepcopy(config)
    del older["corrections"]["selected_objects_by_boxes"]
    assert OpenSeeDConfig.from_json(older).corrections.selected_objects_by_boxes
    now = RunRecord(values, {}, config)
    with pytest.raises(UsageError, match="selected_objects_by_boxes was False and is True"):
        now.check_resumes(RunRecord(earlier, {}, older), Path("runs"))
    without = copy.deepcopy(values)
    without["corrections"]["selected_objects_by_boxes"] = False
    RunRecord(without, {}, config).check_resumes(RunRecord(earlier, {}, older), Path("runs"))
    kept = {key: value for key, value in earlier.items() if key != "type"}
    assert build_recipe(OpenSeeDRecipe, kept, Path("recipe.yaml")).corrections == Corrections()


@pytest.mark.parametrize(
    "path", sorted(RECIPES.glob("openseed/*.yaml")), ids=lambda path: path.stem
)
def test_recipes_that_come_along_can_be_read(path: Path) -> None:
    recipe = load_recipe(path)
    assert isinstance(recipe, OpenSeeDRecipe) and recipe.name == path.stem
    assert recipe.corrections == Corrections()
    with pytest.raises(ConfigError, match="multiple of 32"):
        load_recipe(path, ["data.size=100"])


def test_a_batch_without_objects_has_a_loss() -> None:
    loaded = toy("openseed")
    assert isinstance(loaded.model, OpenSeeD)
    nothing = ObjectTargets(
        torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), torch.zeros(0, SIZE, SIZE)
    )
    pixels, targets = collate([(torch.randn(3, SIZE, SIZE), nothing)])
    predictions = loaded.model.predict_layers(loaded.model.encode(pixels), torch.eye(32)[:3])
    losses = OpenSeeDLoss(num_points=16)(predictions, targets, num_things=2)
    assert losses.total.isfinite()
    losses.total.backward()


def twin_queries() -> Predictions:
    """Two queries with one box and the same scores; the first shows the left half, the second the right."""
    masks = torch.full((1, 2, 16, 16), -5.0)
    masks[0, 0, :, :8] = masks[0, 1, :, 8:] = 5.0
    return Predictions(torch.zeros(1, 2, 3), torch.full((1, 2, 4), 0.5), masks)


@pytest.mark.parametrize("side", [0, 1])
def test_assisting_masks_decide_the_matching_where_boxes_cannot(side: int) -> None:
    target = ObjectTargets(torch.tensor([0]), torch.full((1, 4), 0.5))
    half = torch.zeros(1, 32, 32, dtype=torch.bool)
    half[..., 16 * side : 16 * (side + 1)] = True
    matcher = HungarianMatcher(num_points=256)
    (assisted,) = matcher(twin_queries(), [replace(target, assisting_masks=half)])
    assert assisted.queries.tolist() == [side]
    (labelled,) = matcher(twin_queries(), [replace(target, masks=half, assisting_masks=~half)])
    assert labelled.queries.tolist() == [side], "labels count before what a model made"


def test_mask_assistance_decodes_masks_for_boxes_and_they_are_in_no_loss() -> None:
    loaded = toy("openseed")
    model, encoder = loaded.model, loaded.query_encoder.text_encoder
    assert isinstance(model, OpenSeeD) and isinstance(encoder, NameEncoder)
    names = torch.nn.functional.normalize(torch.randn(3, 32), dim=-1)
    boxes = torch.tensor([[0.3, 0.3, 0.35, 0.35], [0.5, 0.8, 1.0, 0.4]])
    nothing = ObjectTargets(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))
    targets = [nothing, ObjectTargets(torch.tensor([0, 2]), boxes)]
    pixels = torch.randn(2, 3, SIZE, SIZE)
    features = model.encode(pixels)
    empty, assisted = with_assisting_masks(model, features, names, targets)
    decoded = model.decode_masks(model.encode(pixels[1:]), boxes[None], names[[0, 2]][None])[0]
    assert empty is nothing and assisted.masks is None
    assert assisted.assisting_masks is not None and not assisted.assisting_masks.requires_grad
    assert (assisted.assisting_masks == (decoded > 0)).float().mean() > 0.99

    vocabulary = ObjectNames(("mug", "knife"), ("wall",))
    recipe = LossRecipe(num_points=64, mask_assistance=True)
    module = OpenSeeDTraining(model, encoder, [vocabulary], None, OptimRecipe(), recipe)
    losses = module.losses((pixels, targets), vocabulary)
    assert all(layer.masks == 0 and layer.dice == 0 for layer in losses.layers)
    losses.total.backward()


def test_masks_that_a_model_made_are_learned_on_request_only(tmp_path: Path) -> None:
    data = write_pictures(tmp_path)
    content = json.loads(data.read_text())
    content["annotations"][0]["pseudo_label"] = True
    data.write_text(json.dumps(content))
    arguments = ["openseed-overfit", "--data", str(data), "--output", str(tmp_path)]
    assert main([*arguments, "--set", "optim.steps=1"]) == 1
    allowed = ["--set", "optim.steps=1", "optim.score_every=0", "data.pseudo_labels=true"]
    assert main([*arguments, *allowed]) == 0


def test_towers_start_from_the_files_of_their_authors_or_say_that_they_are_random(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy("openseed").info.config
    trained, trained_encoder = build_network(ModelRecipe(network=config), Corrections())
    said = capsys.readouterr().err
    assert "backbone_weights is empty" in said and "text_weights is empty" in said
    assert trained_encoder.text_encoder is not None
    swin = {k: t for k, t in trained.backbone.state_dict().items() if not k.startswith("norms.")}
    extra = ("norm.weight", "head.weight", "layers.0.blocks.0.attn.relative_position_index")
    swin |= dict.fromkeys((*extra, "layers.0.blocks.1.attn_mask"), torch.zeros(1))
    text = {
        "lang_proj" if k == "text_projection" else k.replace("transformer.", "lang_encoder."): t
        for k, t in trained_encoder.text_encoder.tower.state_dict().items()
    }
    text = {k if "lang_" in k else f"lang_encoder.{k}": t for k, t in text.items()}
    torch.save({"model": swin}, tmp_path / "swin.pth")
    torch.save(text, tmp_path / "text.pth")
    files = {
        "backbone_weights": str(tmp_path / "swin.pth"),
        "text_weights": str(tmp_path / "text.pth"),
    }
    model, query_encoder = build_network(ModelRecipe(network=config, **files), Corrections())
    assert not capsys.readouterr().err and query_encoder.text_encoder is not None
    for name, tensor in model.backbone.state_dict().items():
        assert name.startswith("norms.") or torch.equal(tensor, swin[name])
    towers = (trained_encoder.text_encoder.tower, query_encoder.text_encoder.tower)
    for ours, theirs in zip(*(each.state_dict().values() for each in towers), strict=True):
        assert torch.equal(ours, theirs)
    other = replace(config, text=replace(config.text, context_length=20))
    with pytest.raises(CheckpointError, match=r"positional_embedding .* model\.text_weights needs"):
        build_network(ModelRecipe(network=other, **files), Corrections())
    with pytest.raises(ConfigError, match="which has all towers"):
        ModelRecipe(weights="openseed-swint", **files)
