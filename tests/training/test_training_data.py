"""Training data: flips keep left and right apart, shards stream what was packed, and one can look at it."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from helpers.miniature_benchmarks import write_pascal
from helpers.mug_pictures import recipe_file
from helpers.part_images import part_images
from helpers.small_scenes import write_scenes
from torchvision import tv_tensors

pytest.importorskip("webdataset", reason="WebDataset is not installed (extra `train`)")
from ovps_core.datasets.benchmark_reader import LabelledImage
from ovps_core.datasets.labelled_objects import LabelledObjects
from ovps_core.datasets.pascal_part import PascalPart116
from ovps_core.errors import ConfigError, DatasetError, ImageError
from ovps_core.language.vocabulary import IGNORE, UNKNOWN, Vocabulary
from ovps_core.losses.labels import PartTargets
from ovps_core.models.interface import PartLogits, Preprocessing
from ovps_core.synthetic.backdrops import IGNORED
from training.augmentation import NamedFlip
from training.data import PartImages, TrainingData, open_data
from training.data_command import main
from training.left_out import LeftOut
from training.openseed.data import Cropper
from training.openseed.recipe import DataRecipe as ObjectRecipe
from training.part_training import Batch, PartTraining
from training.recipe import DataRecipe
from training.rendered import open_rendered
from training.shards import Shards, ShardStream, pack
from training.stream import StreamPosition
from training.train import main as train


def test_a_mirror_swaps_left_and_right_names() -> None:
    parts = [("car", "left door"), ("car", "right door"), ("car", "hood"), ("car", "left mirror")]
    labels = torch.tensor([[0, 1, 2, 3, -1]], dtype=torch.int32)
    both = tv_tensors.Mask(torch.stack([labels, torch.zeros_like(labels)]))
    image = tv_tensors.Image(torch.arange(5).repeat(3, 1, 1))
    vocabulary = Vocabulary("cars", ("car",), tuple(parts))
    flipped, mirrored = NamedFlip(1.0, vocabulary)(image, both)
    assert flipped[0, 0].tolist() == [4, 3, 2, 1, 0]
    # the right mirror has no name in this vocabulary, and is no background either
    assert mirrored[0, 0].tolist() == [IGNORE, UNKNOWN, 2, 0, 1]
    assert mirrored[1].tolist() == [[0, 0, 0, 0, 0]]

    shoes = Vocabulary("shoes", (), (("left shoe", "sole"), ("right shoe", "sole")))
    _, mirrored = NamedFlip(1.0, shoes)(
        image, tv_tensors.Mask(torch.tensor([[[0, 1, -1]], [[0, 1, 1]]]))
    )
    assert mirrored.tolist() == [[[IGNORE, 0, 1]], [[0, 0, 1]]]
    unknown = tv_tensors.Mask(torch.full((2, 1, 3), UNKNOWN))
    assert torch.equal(NamedFlip(1.0, shoes)(image, unknown)[1], unknown)


def test_pixels_of_unknown_content_stay_unknown_in_shards(tmp_path: Path) -> None:
    labels = np.array([[0, IGNORE], [UNKNOWN, 0]], np.int32).repeat(8, 0).repeat(8, 1)
    vocabulary = Vocabulary("mugs", ("mug",), (("mug", "rim"),))
    shown = LabelledImage(np.zeros((16, 16, 3), np.uint8), labels, labels)
    assert shown.object_rows == (0,)
    pack([lambda: shown], vocabulary, tmp_path / "shards")
    (found,) = itertools.islice(
        ShardStream(Shards.open(tmp_path / "shards"), lambda sample: sample, StreamPosition()), 1
    )
    assert np.array_equal(found.parts, labels) and np.array_equal(found.objects, labels)


def test_what_is_unknown_in_a_rendered_scene_is_no_background(tmp_path: Path) -> None:
    folder = write_scenes(tmp_path / "scenes", [("mug", "rim"), ("pot", "lid")], 3)
    file = folder / "shard_00000" / "parts.npy"
    parts = np.load(file)
    parts[1, :4] = IGNORED
    np.save(file, parts)
    reads, _ = open_rendered(folder, ["mug"])
    for labels in (reads[1]().parts, reads[1]().objects):
        assert (labels[:4] == UNKNOWN).all() and (labels[4:8] == IGNORE).all()
        assert (labels[8:32, 8:40] == 0).all()
    assert (reads[2]().objects == IGNORE).all(), "other objects are background"


def test_pixels_of_unknown_content_are_not_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Nothing:
        total: torch.Tensor

    class Everywhere(PartTraining):
        """Answers the rim at every pixel."""

        def losses(self, batch: Batch, *, scoring: bool = False) -> tuple[Nothing, PartLogits]:
            maps = torch.tensor([1.0, -1.0])[:, None, None].expand(1, 2, 8, 8)
            return Nothing(torch.zeros(())), PartLogits(maps, maps)

    training = Everywhere(Vocabulary("mugs", ("mug",), (("mug", "rim"),)))
    scores: dict[str, float] = {}
    monkeypatch.setattr(training, "log", lambda name, value, **_: scores.update({name: value}))
    monkeypatch.setattr(training, "all_gather", lambda counts: counts)
    labels = torch.full((1, 8, 8), UNKNOWN)
    labels[:, :4] = 0
    labels[:, 4:6] = IGNORE
    training.on_validation_epoch_start()
    training.validation_step((torch.zeros(1, 3, 8, 8), labels, labels), 0)
    training.on_validation_epoch_end()
    for name in ("score/part_miou", "score/part_miou_of_masks"):
        assert float(scores[name]) == pytest.approx(2 / 3), "four rows of six"


def test_pictures_of_a_benchmark_to_score_on_are_spread_over_its_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pascal(tmp_path)
    items = [SimpleNamespace(read=number) for number in range(10)]
    monkeypatch.setattr(PascalPart116, "evaluation_items", lambda _: items)
    for limit, chosen in ((0, ()), (4, (0, 2, 5, 7)), (500, tuple(range(10)))):
        recipe = DataRecipe(format="pascal-part-116", val_limit=limit)
        assert open_data(recipe, tmp_path).val == chosen


def test_pixels_without_a_label_are_scored_as_background_but_not_on_a_benchmark(
    mugs: Path, tmp_path: Path
) -> None:
    write_pascal(tmp_path)
    recipe = DataRecipe(format="pascal-part-116", val_limit=500)
    for data, empty in (
        (open_data(recipe, tmp_path), UNKNOWN),
        (open_data(DataRecipe(object="mug"), mugs), IGNORE),
    ):
        images = part_images(data, recipe, (60, 80), batch=1, score_on="train")
        for labels in images.score_images[0][1:]:
            assert labels.min() == empty and labels.max() >= 0
        assert min(int(labels.min()) for labels in images.train_images[0][1:]) == IGNORE


@pytest.mark.parametrize("option", ["colour_jitter", "blur", "noise"])
def test_each_change_of_colours_keeps_the_labels(option: str) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    labels = np.arange(64 * 64, dtype=np.int32).reshape(64, 64) // 512
    objects = LabelledObjects(
        picture,
        np.zeros(1, np.int64),
        np.array([[8, 8, 40, 48]], np.float32),
        None,
        np.ones(1),
        np.zeros(1, bool),
        np.zeros(1, bool),
    )
    plain = Preprocessing((64, 64), (0, 0, 0), (1, 1, 1))

    def pixels(value: float) -> list[torch.Tensor]:
        """The same picture as a sample of parts and as one of objects."""
        torch.manual_seed(0)
        off = {"flip": 0, "colour_jitter": 0, option: value}
        sample = LabelledImage(picture, labels, labels)
        of_parts, *maps = PartImages([], DataRecipe(min_crop=1, **off), plain).convert(sample)
        recipe = ObjectRecipe(size=64, min_scale=1, max_scale=1, **off)
        of_objects, targets = Cropper(["mug"], recipe, plain, augment=True)(objects)
        assert all(np.array_equal(each, labels) for each in maps)
        assert torch.equal(targets.boxes_cxcywh * 64, torch.tensor([[24.0, 28, 32, 40]]))
        return [of_parts, of_objects]

    for before, after in zip(pixels(0), pixels(1.0 if option == "blur" else 0.1), strict=True):
        assert 0.01 < float((before - after).abs().mean()) < 0.3
        assert float(after.min()) >= 0 and float(after.max()) <= 1


def test_a_probability_above_1_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"copy_paste should be 0 to 1, got 1\.5"):
        DataRecipe(copy_paste=1.5)


@pytest.mark.parametrize("packed", [False, True])
def test_pasted_objects_bring_their_labels_and_hide_others(
    packed: bool, mugs: Path, tmp_path: Path
) -> None:
    recipe = DataRecipe(object="mug", copy_paste=1, flip=0, min_crop=1, colour_jitter=0, workers=0)
    data = open_data(recipe, mugs)
    if packed:
        pack(data.train, data.vocabulary, tmp_path / "shards")
        data = open_data(replace(recipe, format="shards"), tmp_path / "shards")
    images = part_images(data, recipe, (64, 64), batch=8)
    pixels, parts, objects = next(iter(images.train_dataloader()))
    bodies, handles = parts == 0, parts == 1
    assert data.vocabulary.object_parts == (("mug", "body"), ("mug", "round handle"))
    assert torch.equal(objects == 0, bodies | handles)
    assert (bodies.sum((1, 2)) > 700).any(), "two mugs, of which one has 600 pixels"
    for labelled, brighter, darker in ((bodies, 2, 0), (handles, 0, 2)):
        for picture, mask in zip(pixels, labelled, strict=True):
            inside = cv2.erode(mask.numpy().astype(np.uint8), np.ones((3, 3))) > 0
            fits = (picture[brighter] > picture[darker] + 0.2)[torch.from_numpy(inside)]
            assert fits.float().mean() > 0.98, "but for the colours that a JPEG smears"
    again = next(iter(part_images(data, recipe, (64, 64), batch=8).train_dataloader()))
    assert torch.equal(parts, again[1]), "the seed decides"


@pytest.mark.parametrize("min_crop", [1.0, 0.4])
@pytest.mark.parametrize("shape", [(480, 640), (97, 131)])
def test_labels_lie_where_their_picture_is(min_crop: float, shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)

    def read() -> LabelledImage:
        """A white box."""
        (left, right), (top, bottom) = (
            (int(random.uniform(0.35, 0.45) * side), int(random.uniform(0.55, 0.65) * side))
            for side in (shape[1], shape[0])
        )
        labels = np.zeros(shape, np.int32)
        labels[top:bottom, left:right] = 1
        white = (255 * labels)[..., None].repeat(3, 2).astype(np.uint8)
        return LabelledImage(white, labels, labels)

    recipe = DataRecipe(flip=0, min_crop=min_crop, colour_jitter=0)
    images = PartImages([read], recipe, Preprocessing((88, 88), (0, 0, 0), (1, 1, 1)))
    torch.manual_seed(0)
    away = []
    for _ in range(40):
        pixels, parts, objects = images[0]
        assert torch.equal(parts, objects) and set(parts.unique().tolist()) <= {0, 1}
        small = PartTargets(parts[None], objects[None]).resized((22, 22)).objects[0]
        coarse = torch.nn.functional.avg_pool2d(pixels[None], 4)[0, 0]
        for weights, picture in ((parts, pixels[0]), (small, coarse)):
            where = torch.arange(len(weights)) + 0.5
            away.append(
                [
                    float((m.double().sum(axis) * where).sum() / m.double().sum() / len(m))
                    for m in (weights, picture)
                    for axis in (0, 1)
                ]
            )
    x, y, true_x, true_y = np.array(away).reshape(-1, 2, 4).mean(axis=0).T
    of_labels, of_small_ones = np.abs([x - true_x, y - true_y]).max(axis=0)
    assert of_labels < 0.002 and of_small_ones < 0.009, "of the side; half a pixel is 0.006"


def test_shards_stream_what_was_packed(mugs: Path, tmp_path: Path) -> None:
    data = open_data(DataRecipe(object="mug"), mugs)

    def damaged() -> LabelledImage:
        raise ImageError("mug9.png is cut")

    counts = pack(
        [*data.train, damaged], data.vocabulary, tmp_path / "shards", shard_megabytes=0.01
    )
    assert counts["pictures"] == 4 and counts["unreadable: mug9.png is cut"] == 1
    shards = Shards.open(tmp_path / "shards")
    assert shards.vocabulary.object_parts == data.vocabulary.object_parts
    assert len(shards.files) == counts["shards"] >= 2
    stream = ShardStream(shards, lambda sample: sample, StreamPosition(seed=1))
    found = list(itertools.islice(stream, 4))
    expected = {read().parts.tobytes(): read().image for read in data.train}
    assert {sample.parts.tobytes() for sample in found} == set(expected)
    for sample in found:
        difference = np.abs(sample.image.astype(int) - expected[sample.parts.tobytes()])
        assert difference.mean() < 12, "a JPEG of noise"
    with pytest.raises(DatasetError, match="exists already"):
        pack(data.train, data.vocabulary, tmp_path / "shards")


def test_a_damaged_shard_is_skipped_and_named_once_also_by_workers(
    mugs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = open_data(DataRecipe(object="mug"), mugs)
    pack(data.train, data.vocabulary, tmp_path / "shards", shard_megabytes=0.001)
    shards = Shards.open(tmp_path / "shards")
    first, second, *_ = map(Path, shards.files)
    first.write_bytes(b"no tar file" * 400)
    left_out = LeftOut()
    left_out.keep_in(tmp_path / "left_out.txt", resume=False)
    stream = ShardStream(
        shards, lambda sample: torch.from_numpy(sample.parts), StreamPosition(), left_out
    )
    assert len(list(itertools.islice(stream, 3 * 3))) == 9
    assert left_out.names() == {str(first)}
    second.write_bytes(b"no tar file" * 400)
    assert len(list(itertools.islice(stream.loader(1, num_workers=2), 12))) == 12
    assert left_out.names() == {str(first), str(second)}
    assert (tmp_path / "left_out.txt").read_text().count("invalid header") == 2
    assert capsys.readouterr().err.count(first.name) == 1


def test_damaged_and_empty_pictures_are_replaced_in_training_packed_or_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vocabulary = Vocabulary("mugs", ("mug",), (("mug", "rim"),))

    def damaged() -> LabelledImage:
        raise ImageError("mug9.png is cut")

    def shows(label: int) -> LabelledImage:
        labels = np.full((16, 16), label, np.int32)
        return LabelledImage(np.zeros((16, 16, 3), np.uint8), labels, labels)

    reads = [damaged, partial(shows, IGNORE), partial(shows, 0)]
    recipe = DataRecipe(flip=0, min_crop=1, workers=0)
    pack(reads, vocabulary, tmp_path / "shards")
    packed = open_data(DataRecipe(format="shards"), tmp_path / "shards")
    for data in (TrainingData(vocabulary, tuple(reads), ()), packed):
        images = part_images(data, recipe, (16, 16), batch=1, score_on="train")
        batches = itertools.islice(images.train_dataloader(), 9)
        assert all((object_parts == 0).all() for _, object_parts, _ in batches)
        assert images.left_out.names() == ({"mug9.png is cut"} if data.train else set())
        assert capsys.readouterr().err.count("left out") == len(images.left_out.names())
    with pytest.raises(ImageError, match="is cut"):
        PartImages(reads, None, Preprocessing((16, 16), (0, 0, 0), (1, 1, 1)))[0]
    with pytest.raises(ImageError, match="is cut"):
        PartImages([damaged], recipe, Preprocessing((16, 16), (0, 0, 0), (1, 1, 1)))[0]


def test_two_processes_share_the_shards(mugs: Path, tmp_path: Path) -> None:
    data = open_data(DataRecipe(object="mug"), mugs)
    pack(data.train, data.vocabulary, tmp_path / "shards", shard_megabytes=0.001)
    shards = Shards.open(tmp_path / "shards")
    assert len(shards.files) == 4
    seen = [
        {
            s.parts.tobytes()
            for s in itertools.islice(iter(ShardStream(shards, lambda s: s, start)), 2)
        }
        for start in (StreamPosition(rank=0, world=2), StreamPosition(rank=1, world=2))
    ]
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == 4


def test_more_workers_than_shards_share_the_pictures(mugs: Path, tmp_path: Path) -> None:
    data = open_data(DataRecipe(object="mug"), mugs)
    pack(data.train, data.vocabulary, tmp_path / "shards")
    shards = Shards.open(tmp_path / "shards")
    assert len(shards.files) == 1
    stream = ShardStream(shards, lambda sample: torch.from_numpy(sample.parts), StreamPosition())
    pictures = list(itertools.islice(stream.loader(2, num_workers=2), 2))
    assert len({picture.numpy().tobytes() for picture in torch.cat(pictures)}) == 4
    seen = [
        next(
            iter(ShardStream(shards, lambda s: s, StreamPosition(rank=rank, world=6)))
        ).parts.tobytes()
        for rank in range(6)
    ]
    assert len(set(seen)) == 4, "two processes share a picture with another one"


def test_a_share_that_is_damaged_is_given_up_for_the_others(mugs: Path, tmp_path: Path) -> None:
    data = open_data(DataRecipe(object="mug"), mugs)
    pack(data.train, data.vocabulary, tmp_path / "shards", shard_megabytes=0.001)
    shards = Shards.open(tmp_path / "shards")
    for file in shards.files[1:]:
        Path(file).write_bytes(b"no tar file" * 400)
    for rank in range(4):
        next(iter(ShardStream(shards, lambda s: s, StreamPosition(rank=rank, world=4))))
    Path(shards.files[0]).write_bytes(b"no tar file" * 400)
    with pytest.raises(DatasetError, match="no sample of"):
        next(iter(ShardStream(shards, lambda s: s, StreamPosition())))


def test_commands_show_and_pack_and_the_shards_are_trained_on(
    mugs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    recipe = recipe_file(tmp_path, optim={"steps": 2, "warmup": 1, "batch": 2})
    picture = tmp_path / "seen.png"
    assert (
        main(["show", str(recipe), "--data", str(mugs), "--out", str(picture), "--count", "4"]) == 0
    )
    assert cv2.imread(str(picture)) is not None
    assert main(["pack", str(recipe), "--data", str(mugs), "--out", str(tmp_path / "shards")]) == 0
    assert "data.format=shards" in capsys.readouterr().out
    arguments = ["--data", str(tmp_path / "shards"), "--out", str(tmp_path)]
    assert train([str(recipe), *arguments, "--set", "data.format=shards", "score_on=val"]) == 0
    assert (tmp_path / "mugs" / "model.safetensors").is_file()


def test_what_is_packed_for_one_type_is_learned_by_the_others_and_compact_says_why_not(
    mugs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes = write_scenes(tmp_path / "scenes", [("mug", "rim"), ("pot", "lid")], 3)
    for recipe, data in (("partcatseg-pascal116", mugs), ("catseg-rendered", scenes)):
        arguments = [recipe, "--data", str(data), "--set", "data.object=mug"]
        if data == mugs:
            arguments.append("data.format=coco-folder")
        assert main(["pack", *arguments, "--out", str(tmp_path / recipe)]) == 0
        shards = Shards.open(tmp_path / recipe)
        packed = DataRecipe(format="shards", workers=0)
        images = part_images(open_data(packed, shards.folder), packed, (32, 32), batch=3)
        pixels, object_parts, _ = next(iter(images.train_dataloader()))
        assert pixels.shape == (3, 3, 32, 32) and object_parts.max() >= 0
        assert main(["pack", recipe, "--set", "data.format=shards", "--out", "x"]) == 1
        assert "packed already" in capsys.readouterr().err
    assert main(["pack", "finetune", "--data", str(mugs), "--out", str(tmp_path / "x")]) == 1
    assert "holds photographs in memory" in capsys.readouterr().err


def test_a_set_without_a_labelled_pixel_is_refused(mugs: Path) -> None:
    content = json.loads(mugs.read_text())
    mugs.write_text(json.dumps({**content, "annotations": []}))
    with pytest.raises(DatasetError, match="labels no pixel of the 4 images"):
        open_data(DataRecipe(object="mug"), mugs)
