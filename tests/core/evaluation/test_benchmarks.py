"""The readers and the whole evaluation run on the documented layouts, and say what is missing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.miniature_benchmarks import (
    box,
    knowing,
    logits_of,
    write_ade,
    write_image,
    write_json,
    write_partimagenet,
    write_pascal,
)
from helpers.toy_models import TOY, build, write_toy
from PIL import Image

from ovps_core.checkpoints import save_model
from ovps_core.checkpoints.file import full_state
from ovps_core.cli import main
from ovps_core.datasets.ade20k_part import ADE20KPart234
from ovps_core.datasets.partimagenet import PartImageNet
from ovps_core.datasets.pascal_part import PascalPart116
from ovps_core.errors import DatasetError, OvpsError
from ovps_core.evaluation.benchmark import evaluate_benchmark
from ovps_core.evaluation.gallery import Gallery
from ovps_core.evaluation.protocols import RELEASED, Setting
from ovps_core.evaluation.result_tables import benchmark_heading, benchmark_table, class_table
from ovps_core.language.vocabulary import IGNORE, load_vocabulary
from ovps_core.models.clipseg.model import CLIPSegConfig

BENCHMARKS = [
    pytest.param(write_pascal, PascalPart116, id="pascal_part_116"),
    pytest.param(write_ade, ADE20KPart234, id="ade20k_part_234"),
    pytest.param(write_partimagenet, PartImageNet, id="partimagenet"),
]


@pytest.mark.parametrize(
    ("name", "seen", "everything"),
    [
        ("pascal_part_116", (41, 11, 74), (42, 16, 116)),
        ("ade20k_part_234", (83, 33, 176), (85, 44, 234)),
        ("partimagenet", (13, 25, 92), (13, 40, 147)),
    ],
)
def test_vocabularies_have_the_published_sizes(name, seen, everything):
    vocabulary = load_vocabulary(name)
    for one, sizes in ((vocabulary.seen(), seen), (vocabulary, everything)):
        assert (len(one.parts), len(one.objects_with_parts), len(one.object_parts)) == sizes
        for row, (object_name, part) in enumerate(one.object_parts):
            assert one.parts[one.part_index[row]] == part
            assert one.objects_with_parts[one.object_index[row]] == object_name
    assert len(vocabulary.seen_indices) == seen[2]


def test_pascal_has_an_item_for_each_object_category(tmp_path):
    write_pascal(tmp_path)
    reader = PascalPart116(tmp_path)
    items = {item.name: item.read() for item in reader.evaluation_items()}
    assert set(items) == {"2008_000001 boat", "2008_000001 dog", "2008_000002 cat"}
    assert not items["2008_000001 boat"].has_parts
    dog = items["2008_000001 dog"]
    row = reader.vocabulary.object_parts.index(("dog", "head"))
    np.testing.assert_array_equal(dog.parts == row, box(5, 5, 20, 40))
    assert [reader.vocabulary.objects_with_parts[row] for row in dog.object_rows] == ["dog"]


def test_pascal_trains_without_unseen_objects(tmp_path):
    write_pascal(tmp_path)
    reader = PascalPart116(tmp_path)
    (item,) = reader.training_items()
    sample, seen = item.read(), reader.vocabulary.seen()
    assert [seen.objects_with_parts[row] for row in sample.object_rows] == ["cat"]
    assert [seen.object_parts[row] for row in np.unique(sample.parts) if row != IGNORE] == [
        ("cat", "head")
    ]


def test_ade_has_an_item_for_each_instance_and_unseen_ones_of_training_images(tmp_path):
    write_ade(tmp_path)
    reader = ADE20KPart234(tmp_path)
    items = [item.read() for item in reader.evaluation_items()]
    names = reader.vocabulary.object_part_names
    shown = [{names[row] for row in np.unique(item.parts) if row != IGNORE} for item in items]
    assert shown == [{"chair back"}, {"chair seat"}, {"bench seat"}]
    (training,) = [item.read() for item in reader.training_items()]
    seen = reader.vocabulary.seen()
    assert [seen.objects_with_parts[row] for row in training.object_rows] == ["bed"]


def test_partimagenet_reads_the_object_from_the_file_name(tmp_path):
    write_partimagenet(tmp_path)
    reader = PartImageNet(tmp_path)
    items = [item.read() for item in reader.evaluation_items()]
    names = [
        reader.vocabulary.objects_with_parts[row] for item in items for row in item.object_rows
    ]
    assert names == ["tiger", "impala"]
    np.testing.assert_array_equal(items[0].objects != IGNORE, items[0].parts != IGNORE)
    assert [item.name for item in reader.training_items()] == ["n02129604_1"]


@pytest.mark.parametrize(("write", "reader_type"), BENCHMARKS)
def test_a_model_that_knows_everything_is_perfect(tmp_path, write, reader_type):
    write(tmp_path)
    reader = reader_type(tmp_path)
    result = evaluate_benchmark(reader, knowing(reader), model="oracle")
    for figures in result.settings:
        assert figures.harmonic_miou == pytest.approx(100) or reader.name == "partimagenet"
        assert figures.seen_miou == figures.unseen_miou == figures.pixel_accuracy == 100
        assert figures.boundary_iou == figures.mean_recall == 100
        assert figures.over_segmentation == 0 or figures.setting == "oracle-obj"
    json.dumps(result.as_dict(), allow_nan=False)


def test_figures_are_those_computed_by_hand(tmp_path):
    write_pascal(tmp_path)
    reader = PascalPart116(tmp_path)
    dog_head, dog_torso = (
        reader.vocabulary.object_parts.index(("dog", p)) for p in ("head", "torso")
    )
    result = evaluate_benchmark(
        reader,
        knowing(reader, lambda labels: np.where(labels == dog_torso, dog_head, labels)),
        settings=[Setting.ORACLE_OBJ],
    )
    (figures,) = result.settings
    by_name = {line.name: line for line in figures.classes}
    assert by_name["dog head"].iou == pytest.approx(100 * 15 / 35)
    assert by_name["dog torso"].iou == 0
    assert figures.unseen_miou == pytest.approx(50 * 15 / 35)
    assert figures.seen_miou == 100
    assert figures.pixel_accuracy == pytest.approx(100 * (15 * 35 + 40 * 30) / (35 * 35 + 40 * 30))
    assert (result.items, result.skipped) == (2, 1)


def test_under_segmentation_is_the_share_of_a_part_that_is_missed(tmp_path):
    write_pascal(tmp_path)
    reader = PascalPart116(tmp_path)
    head, torso = (
        reader.vocabulary.object_parts.index(("dog", part)) for part in ("head", "torso")
    )

    def grows_the_head(labels):
        """The first 5 of the torso's 20 rows, which begin at row 20, are answered as head."""
        rows = np.indices(labels.shape)[0]
        return np.where((labels == torso) & (rows < 25), head, labels)

    result = evaluate_benchmark(reader, knowing(reader, grows_the_head))
    (figures,) = (each for each in result.settings if each.setting == "pred-all")
    assert figures.unseen_under_segmentation == pytest.approx((0 + 25) / 2)  # head, torso
    assert figures.seen_under_segmentation == 0
    assert figures.under_segmentation == pytest.approx((0 + 25 + 0 + 0) / 4)
    assert figures.over_segmentation == 0  # the head's wrong claim is on the same object


def test_pred_all_loses_what_oracle_obj_is_told(tmp_path):
    write_pascal(tmp_path)
    reader = PascalPart116(tmp_path)
    cat = reader.vocabulary.objects_with_parts.index("cat")
    know = knowing(reader)

    def takes_every_object_for_a_cat(image):
        logits = know(image)
        logits.names[:, len(reader.vocabulary.parts) + cat] = 9
        return logits

    result = evaluate_benchmark(reader, takes_every_object_for_a_cat)
    pred_all, oracle = sorted(result.settings, key=lambda figures: figures.unseen_miou)
    assert (pred_all.setting, pred_all.unseen_miou, pred_all.harmonic_miou) == ("pred-all", 0, 0)
    assert oracle.unseen_miou == pred_all.seen_miou == 100
    dog, cats = (
        sum(line.pixels for line in pred_all.classes if line.name.startswith(name))
        for name in ("dog ", "cat ")
    )
    assert pred_all.seen_over_segmentation == pytest.approx(100 * dog / (dog + cats))
    assert pred_all.unseen_over_segmentation == 0  # nothing was taken for a dog
    assert pred_all.unseen_under_segmentation == 100  # and all of it is missed
    assert pred_all.seen_under_segmentation == 0


def test_released_emulation_shifts_labels_and_replaces_empty_items(tmp_path):
    write_pascal(tmp_path)
    reader = PascalPart116(tmp_path)
    clean = evaluate_benchmark(reader, knowing(reader))
    released = evaluate_benchmark(reader, knowing(reader), protocol=RELEASED)
    assert (clean.items, released.items, released.skipped) == (2, 3, 1)
    assert all(50 < figures.harmonic_miou < 100 for figures in released.settings)


@pytest.mark.parametrize(("write", "reader_type"), BENCHMARKS)
def test_an_absent_data_set_says_how_it_should_look(tmp_path, monkeypatch, write, reader_type):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(DatasetError) as caught:
        reader_type().evaluation_items()
    assert str(tmp_path / reader_type.folder) in str(caught.value)
    assert reader_type.layout in str(caught.value)


@pytest.mark.parametrize(
    ("write", "reader_type", "lost"),
    [
        (write_pascal, PascalPart116, "images/val/2008_000002.jpg"),
        (write_pascal, PascalPart116, "annotations_detectron2_obj/val/2008_000002.png"),
        (write_pascal, PascalPart116, "annotations_detectron2_part/val_obj_label_count.json"),
        (write_ade, ADE20KPart234, "annotations_detectron2_part/training/ADE_train_00000001.png"),
        (write_ade, ADE20KPart234, "ade20k_instance_val.json"),
        (write_partimagenet, PartImageNet, "images/val/n02129604_3.JPEG"),
        (write_partimagenet, PartImageNet, "val.json"),
    ],
)
def test_a_half_unpacked_data_set_names_the_missing_path(tmp_path, write, reader_type, lost):
    path = write(tmp_path) / lost
    path.unlink()
    with pytest.raises(DatasetError) as caught:
        reader_type(tmp_path).evaluation_items()
    assert str(path) in str(caught.value) or str(path.parent) in str(caught.value)


def test_a_wrong_label_value_names_the_file(tmp_path):
    base = write_pascal(tmp_path)
    path = base / "annotations_detectron2_part/val/2008_000002.png"
    write_image(path, np.full((60, 80), 200, dtype=np.uint8))
    (item,) = [item for item in PascalPart116(tmp_path).evaluation_items() if "cat" in item.name]
    with pytest.raises(
        DatasetError, match=r"2008_000002\.png has the value 200; expected 0\.\.115"
    ):
        item.read()


def test_a_model_of_another_vocabulary_is_refused(tmp_path):
    write_pascal(tmp_path)
    other, nothing = load_vocabulary("partimagenet"), np.full((60, 80), IGNORE)
    with pytest.raises(OvpsError, match="pascal_part_116 needs"):
        evaluate_benchmark(
            PascalPart116(tmp_path), lambda image: logits_of(other, nothing, nothing)
        )


@pytest.mark.parametrize(("write", "reader_type"), BENCHMARKS)
def test_the_command_measures_a_real_network(tmp_path, capsys, write, reader_type):
    write(tmp_path)
    weights, out = write_toy("partclipseg", tmp_path / "small.safetensors"), tmp_path / "out"
    words = ["evaluate", reader_type.name, "--root", str(tmp_path), "--model", str(weights)]
    assert main([*words, "--json", str(out / "figures.json"), "--report", str(out)]) == 0
    assert "harmonic" in capsys.readouterr().out
    figures = json.loads((out / "figures.json").read_text())
    assert figures["dataset"] == reader_type.name
    assert [entry["setting"] for entry in figures["settings"]] == ["pred-all", "oracle-obj"]
    assert (out / "index.html").is_file()


def test_a_clipseg_that_was_trained_on_parts_is_measured_by_its_classes(tmp_path, capsys):
    write_pascal(tmp_path)
    trained = load_vocabulary("pascal_part_116").seen().object_parts
    model, query_encoder, info = build(
        "clipseg", CLIPSegConfig(**TOY, trained_object_parts=trained)
    )
    weights, figures = tmp_path / "small.safetensors", tmp_path / "figures.json"
    save_model(weights, full_state(model, query_encoder), info)
    words = ["evaluate", "pascal_part_116", "--root", str(tmp_path), "--model", str(weights)]
    assert main([*words, "--released", "--json", str(figures)]) == 0
    assert "harmonic" in capsys.readouterr().out
    content = json.loads(figures.read_text())
    assert content["trained_on"] == "pascal_part_116"
    assert content["released"] and len(content["settings"]) == 2


def test_a_model_without_background_is_sent_to_folders(tmp_path, capsys):
    write_pascal(tmp_path)
    weights = write_toy("clipseg", tmp_path / "small.safetensors")
    assert (
        main(["evaluate", "pascal_part_116", "--root", str(tmp_path), "--model", str(weights)]) == 1
    )
    assert "ovps evaluate folder" in capsys.readouterr().err


CODES = {
    "ear": "ear", "eye": "eye", "ebrow": "eyebrow", "larm": "lower arm", "uarm": "upper arm",
    "hand": "hand", "foot": "foot", "leg": "leg", "pa": "paw", "ho": "hoof", "liplate": "license plate",
    "mirror": "mirror", "wing": "wing",
}  # fmt: skip
SIDES = {"backside": "back", "frontside": "front", "leftside": "side", "rightside": "side"}


def merged_name(code: str) -> str:
    """Pascal-Part's own part code -> the 116's name: left and right, front and back, numbers merged."""
    stem = code.rstrip("0123456789").rstrip("_")
    if stem in SIDES:
        return SIDES[stem]
    suffixes = [suffix for suffix in CODES if stem.endswith(suffix) and stem != "head"]
    return CODES[max(suffixes, key=len)] if suffixes else stem


def write_samples(samples: Path, root: Path) -> None:
    """Real photographs with Pascal-Part's annotations, as Pascal-Part-116."""
    vocabulary = load_vocabulary("pascal_part_116")
    base, counts = root / "PascalPart116", {}
    records = json.loads((samples / "annotations.json").read_text())

    def mask(name):
        return np.array(Image.open(samples / "masks" / name)) > 0

    for image in sorted({record["image"] for record in records}):
        photo = np.array(Image.open(samples / "images" / image).convert("RGB"))
        objects = np.full(photo.shape[:2], 255, dtype=np.uint8)
        parts = objects.copy()
        for record in (record for record in records if record["image"] == image):
            name = {"table": "diningtable"}.get(record["object"], record["object"])
            inside = mask(record["object_mask"])
            objects[inside], parts[inside] = vocabulary.objects.index(name), 255
            for part in sorted(record["parts"], key=lambda part: -part["area"]):
                pair = (name, merged_name(part["name"]))
                if pair in vocabulary.object_parts:
                    parts[mask(part["mask"]) & inside] = vocabulary.object_parts.index(pair)
        stem = Path(image).stem
        write_image(base / f"images/val/{stem}.jpg", photo)
        write_image(base / f"annotations_detectron2_obj/val/{stem}.png", objects)
        write_image(base / f"annotations_detectron2_part/val/{stem}.png", parts)
        counts[f"{stem}.png"] = [int(index) for index in np.unique(objects) if index != 255]
    write_json(base / "annotations_detectron2_part/val_obj_label_count.json", counts)


@pytest.mark.skipif(
    "OVPS_SAMPLES" not in os.environ, reason="OVPS_SAMPLES names no Pascal-Part photographs"
)
def test_real_photographs_are_measured(tmp_path):
    write_samples(Path(os.environ["OVPS_SAMPLES"]), tmp_path)
    reader = PascalPart116(tmp_path)
    gallery = Gallery(reader.vocabulary.object_part_names)
    moved = knowing(reader, lambda labels: np.roll(labels, (4, 4), axis=(0, 1)))
    result = evaluate_benchmark(
        reader, moved, model="truth, 4 pixels away", on_item=gallery.add_item
    )
    assert result.items >= 20
    for figures in result.settings:
        assert 40 < figures.harmonic_miou < 95
        assert figures.boundary_iou < figures.miou
        assert sum(line.pixels > 0 for line in figures.classes) > 60
    page = gallery.write(
        tmp_path / "page", benchmark_heading(result), [benchmark_table(result, "html")]
    )
    assert page.read_text().count("<img") == 24
    assert "cat head" in class_table(result.settings[0])
    perfect = evaluate_benchmark(reader, knowing(reader))
    assert all(figures.harmonic_miou == 100 for figures in perfect.settings)
