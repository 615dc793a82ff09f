"""Lightning module and pictures of the compact model: where training starts, what it sees, how it scores."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.small_scenes import write_scenes

from ovps_core.checkpoints import find_weights, load_model, save_model
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.models.compact.model import PartFPN
from ovps_core.synthetic.catalogue import HELD_OUT_OBJECT_PARTS, object_parts_of
from ovps_core.synthetic.reader import RenderedScenes
from ovps_core.synthetic.settings import IGNORED

pytest.importorskip("lightning")
from lightning.pytorch.callbacks import Timer

from training.compact import calibrate
from training.compact.augment import crop
from training.compact.data import CompactImages
from training.compact.module import CompactTraining, network_config
from training.compact.photographs import UNCERTAIN
from training.compact.recipe import CompactRecipe
from training.compact.run import CompactRun
from training.families import load_recipe
from training.run import DataSources
from training.train_model import train_model

OBJECT_PARTS = (("mug", "body"), ("mug", "handle"), ("knife", "blade"))


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    return write_scenes(tmp_path / "scenes", OBJECT_PARTS, 5)


def recipe_of(*changes: str, name: str = "finetune") -> CompactRecipe:
    recipe = load_recipe(name, list(changes))
    assert isinstance(recipe, CompactRecipe)
    return recipe


def training_of(recipe: CompactRecipe, scenes: Path) -> CompactTraining:
    images = CompactImages([scenes], None, size=64, batch=2)
    return CompactTraining(network_config(recipe), recipe, images, Timer())


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of one's own: other objects in another order, words of its own, calibrated."""
    torch.manual_seed(0)
    config = PartFPNConfig(
        ("mug", "knife"),
        ("handle", "body", "blade"),
        (("mug", "handle"), ("mug", "body"), ("knife", "blade")),
        size=(64, 96),
        shift=0.7,
        relative_cut=0.4,
        synonyms=(("mug", "beaker"),),
    )
    path = tmp_path_factory.mktemp("own") / "own.safetensors"
    info = replace(load_model(find_weights("ovps-tiny")).info, name="own", config=config)
    save_model(path, PartFPN(config).state_dict(), info)
    return path


def test_training_again_starts_from_the_words_and_answers_of_ones_own_model(
    own: Path, scenes: Path
) -> None:
    recipe = recipe_of(f"model.start={own}")
    start = load_model(own).model
    assert isinstance(start, PartFPN)
    assert network_config(recipe) == start.config
    module = training_of(recipe, scenes).eval()
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    for ours, theirs in zip(module.model.scores(pixels), start.scores(pixels), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_network_is_calibrated_without_the_calibration_of_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = load_model(find_weights("ovps-tiny")).model
    state = {f"model.{name}": tensor for name, tensor in start.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    seen: list[PartFPNConfig] = []

    class SeenError(Exception):
        pass

    def collect(segmenter: object, config: PartFPNConfig, *_: Any) -> None:
        seen.append(config)
        raise SeenError

    monkeypatch.setattr(calibrate, "collect", collect)
    for recipe in (
        recipe_of(),
        recipe_of("model.words=[[mug, beaker]]", name="objects"),
    ):
        with pytest.raises(SeenError):
            loaded = calibrate.load_trained(tmp_path / "last.ckpt", recipe, name="own")
            calibrate.write_calibrated(loaded, tmp_path / "own.safetensors", [tmp_path])
    object_parts = object_parts_of("wild")
    fresh = PartFPNConfig(
        objects=tuple(dict.fromkeys(name for name, _ in object_parts)),
        parts=tuple(sorted({part for _, part in object_parts})),
        object_parts=tuple(each for each in object_parts if each not in HELD_OUT_OBJECT_PARTS),
        size=calibrate.SIZE,
        flip_tta=True,
        half_scale=True,
    )
    assert seen == [fresh, replace(fresh, synonyms=(("mug", "beaker"),))]


def test_scores_do_not_depend_on_the_batches_and_empty_scenes_do_not_end_a_run(
    own: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = training_of(recipe_of(f"model.start={own}"), scenes).eval()
    assert module.model.config.objects[0] == "mug"

    def all_mug_bodies(pixels: torch.Tensor) -> list[torch.Tensor]:
        size = (len(pixels), 4, *pixels.shape[-2:])
        return [torch.zeros(size).index_fill(1, torch.tensor([row]), 1.0) for row in (1, 2, 2)]

    monkeypatch.setattr(module.model, "scores", all_mug_bodies)
    monkeypatch.setattr(module, "all_gather", lambda sums: sums)
    logged: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: value}))
    pictures = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    ids = torch.zeros(3, 8, 8, dtype=torch.int64)
    ids[1, :4], ids[2, :, :6] = 1, 3  # nothing, half a mug body, and a knife blade
    absent = torch.zeros(3, 256, dtype=torch.bool)

    def score(batches: list[list[int]]) -> tuple[float, float]:
        module.on_validation_epoch_start()
        for rows in batches:
            module.validation_step((pictures[rows], ids[rows], absent[rows]), 0)
        module.on_validation_epoch_end()
        return float(logged["score/object_miou"]), float(logged["score/part_miou"])

    for batches in ([[0, 1, 2]], [[0], [1, 2]], [[0, 1], [2]]):
        assert score(batches) == (0.25, 0.25)

    # Pixels without a label say nothing, unless the picture has no further mug bodies.
    ids[1, 4:] = IGNORED
    assert score([[0, 1, 2]]) == (0.5, 0.5)
    absent[1, 1] = True
    assert score([[0, 1, 2]]) == (0.5, 0.25), "of a mug, other parts may be there"
    ids[1, 4:] = UNCERTAIN
    assert score([[0, 1, 2]]) == (0.5, 0.5)


def test_a_run_from_ones_own_model_is_scored_and_keeps_its_words(
    own: Path, scenes: Path, tmp_path: Path
) -> None:
    val = write_scenes(tmp_path / "val", OBJECT_PARTS, 2)
    changes = ["optim.minutes=0.03", "optim.batch=2", "optim.phases=[[1, 64, 4]]"]
    recipe = recipe_of(f"model.start={own}", *changes, "optim.score_every=1")
    scores = train_model(recipe, DataSources((scenes,), val), tmp_path / "run")
    assert set(scores) == {"score/object_miou", "score/part_miou"}
    assert (
        load_model(tmp_path / "run" / "best.safetensors").info.config == load_model(own).info.config
    )


def test_averaged_weights_do_not_copy_pictures_or_the_network_of_the_start(
    own: Path, scenes: Path
) -> None:
    module = training_of(recipe_of(f"model.start={own}", "losses.retain=1"), scenes)
    copied = copy.deepcopy(module)
    assert copied.images is module.images
    assert copied._teacher[0] is module._teacher[0]
    assert copied.model.head.weight is not module.model.head.weight


def test_the_weights_say_what_they_learned_from(own: Path, scenes: Path, tmp_path: Path) -> None:
    recipe = recipe_of(f"model.start={own}")
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    cv2.imwrite(str(photographs / "a.png"), np.zeros((48, 64, 3), np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "object": "mug", "part": "body"}],
        "annotations": [],
    }
    (photographs / "annotations.json").write_text(json.dumps(content))
    for folders, expected in (
        ([scenes], "rendered scenes"),
        ([photographs], "photographs"),
        ([scenes, photographs], "rendered scenes and photographs"),
    ):
        images = CompactImages(folders, None, size=64, batch=2)
        module = CompactTraining(network_config(recipe), recipe, images, Timer())
        assert CompactRun(recipe, module, images, Timer()).result()[1].source == expected


@pytest.mark.parametrize("scale", [0.1, 0.2, 0.35, 0.5])
def test_a_shrunk_crop_shows_its_picture_where_its_labels_are(scale: float) -> None:
    ids = np.zeros((480, 640), np.uint8)
    ids[140:300, 200:420] = 1
    rgb = (255 * ids)[..., None].repeat(3, 2)
    away = []
    for shift in np.linspace(0, 1, 9):
        matrix = np.array([[scale, 0, shift], [0, scale, shift]])
        picture, labels = crop(rgb, ids, matrix, int(450 * scale), unknown_outside=False)
        rows, columns = np.indices(labels.shape)
        for weights in (picture[..., 0].astype(float), labels.astype(float)):
            away.append(
                [(rows * weights).sum() / weights.sum(), (columns * weights).sum() / weights.sum()]
            )
    of_picture, of_labels = np.array(away).reshape(-1, 2, 2).mean(axis=0)
    assert np.abs(of_picture - of_labels).max() < 0.08, "pixels of the crop"


def test_a_limit_above_the_number_of_scenes_takes_all(scenes: Path) -> None:
    images = CompactImages([scenes], None, size=64, batch=2, limit=1000)
    assert len(images.sources[0]) == 5  # type: ignore[arg-type]
    batch = next(iter(images.train_dataloader()))
    assert batch[0].shape == (2, 3, 64, 64)


def test_workers_read_the_crops_that_one_process_reads(scenes: Path) -> None:
    def batches(workers: int) -> list[list[torch.Tensor]]:
        images = CompactImages([scenes], None, size=64, batch=2, workers=workers)
        loader = iter(images.train_dataloader())
        found = [next(loader)]
        images.set_crop_size(48)
        return [*found, *(next(loader) for _ in range(6))]

    alone, shared = batches(0), batches(2)
    assert [batch[0].shape[-1] for batch in alone] == [64] + 6 * [48]
    sizes = [batch[0].shape[-1] for batch in shared]
    assert sizes[0] == 64 and sizes[-1] == 48 and sizes == sorted(sizes, reverse=True)
    for one, other in ((alone[0], shared[0]), (alone[-1], shared[-1])):
        assert all(map(torch.equal, one, other))


def test_a_crop_of_a_scene_reads_it_once(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = CompactImages([scenes], None, size=64, batch=2)
    read, arrays = [], RenderedScenes.arrays

    def counted(self: RenderedScenes, index: int) -> object:
        read.append(index)
        return arrays(self, index)

    monkeypatch.setattr(RenderedScenes, "arrays", counted)
    images.sources[0][1]
    assert read == [1]
