"""Benchmarks of objects: their published folders are read, and scores are those of the field's own programs."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.miniature_objects import (
    HEIGHT,
    KNIFE,
    MUG,
    WIDTH,
    Truth,
    write_ade20k,
    write_coco,
    write_lvis,
    write_objects365,
)
from helpers.toy_models import write_toy
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ovps_core.cli import main
from ovps_core.datasets.labelled_objects import LabelledObjects
from ovps_core.datasets.object_benchmarks import ObjectTask, open_benchmark
from ovps_core.errors import DatasetError, UsageError
from ovps_core.evaluation.average_precision import AveragePrecision, Detection
from ovps_core.evaluation.objects import evaluate_objects
from ovps_core.evaluation.panoptic import MeanIou, PanopticQuality
from ovps_core.language.object_names import ObjectNames
from ovps_core.structures.boxes import Box, ObjectBox
from ovps_core.structures.masks import ObjectMask, ObjectMasks

WRITERS = {
    "coco": write_coco,
    "lvis": write_lvis,
    "objects365": write_objects365,
    "ade20k": write_ade20k,
}
CASES = [
    ("coco", ObjectTask.PANOPTIC, ["pq", "sq", "rq", "pq_things", "pq_stuff"]),
    ("coco", ObjectTask.SEMANTIC, ["miou"]),
    ("coco", ObjectTask.INSTANCE, ["box_ap", "mask_ap", "class_agnostic_box_ap"]),
    ("coco", ObjectTask.DETECTION, ["box_ap", "box_ap50"]),
    ("lvis", ObjectTask.INSTANCE, ["box_ap", "mask_ap", "mask_ap_rare", "mask_ap_frequent"]),
    ("coco", ObjectTask.CONDITIONED, ["mask_ap", "mask_ap50", "mask_ap75"]),
    ("objects365", ObjectTask.DETECTION, ["box_ap", "class_agnostic_box_ap50"]),
    ("ade20k", ObjectTask.SEMANTIC, ["miou"]),
    ("ade20k", ObjectTask.INSTANCE, ["box_ap", "mask_ap"]),
]


@pytest.mark.parametrize(("name", "task", "metrics"), CASES)
def test_the_ground_truth_as_the_answer_scores_one(
    name: str, task: ObjectTask, metrics: list[str], tmp_path: Path
) -> None:
    dataset = open_benchmark(name, WRITERS[name](tmp_path / name), task)
    assert len(dataset) == 2
    result = evaluate_objects(dataset, Truth(dataset), task)
    assert result.images == 2
    for metric in metrics:
        assert result.metrics[metric] == pytest.approx(1), metric
    json.dumps(result.as_dict(), allow_nan=False)


def test_names_of_a_data_set_become_words(tmp_path: Path) -> None:
    coco = open_benchmark("coco", write_coco(tmp_path / "coco"), ObjectTask.PANOPTIC)
    assert coco.queries.things == ("mug", "kitchen knife")
    assert coco.queries.stuff == ("wall-other-merged",)
    objects365 = open_benchmark(
        "objects365", write_objects365(tmp_path / "objects365"), ObjectTask.DETECTION
    )
    assert objects365.queries.things == ("Cup", "Knife")
    ade20k = open_benchmark("ade20k", write_ade20k(tmp_path / "ade20k"), ObjectTask.SEMANTIC)
    assert (len(ade20k.things), len(ade20k.stuff)) == (100, 50)
    assert ade20k.queries.things[0] == "bed" and ade20k.queries.stuff[0] == "wall"
    assert len(set(ade20k.queries.all)) == 150 and "crt screen" in ade20k.queries.all


@pytest.mark.parametrize("task", [ObjectTask.INSTANCE, ObjectTask.DETECTION])
def test_names_of_stuff_are_asked_but_not_scored(task: ObjectTask, tmp_path: Path) -> None:
    coco = write_coco(tmp_path / "coco")
    dataset = open_benchmark("coco", coco, task)
    assert dataset.queries.stuff == ("wall-other-merged",)
    assert set(evaluate_objects(dataset, Truth(dataset), task).per_category) == set(dataset.things)
    (coco / "annotations" / "panoptic_val2017.json").unlink()
    assert open_benchmark("coco", coco, task).queries.stuff == ()
    ade20k = open_benchmark("ade20k", write_ade20k(tmp_path / "ade20k"), task)
    assert (len(ade20k.queries.things), len(ade20k.queries.stuff)) == (100, 50)


class Crowded(Truth):
    """A model that answers with as many boxes as it is asked for, the right ones last."""

    max_instances = 300

    def detect_boxes(
        self, image: np.ndarray, names: ObjectNames, *, max_objects: int = 0, **_: object
    ) -> tuple[ObjectBox, ...]:
        right = super().detect_boxes(image, names)
        wrong = ObjectBox(names.things[1], 0.95, (0, 0, 2, 2))
        mugs = tuple(each for each in right if each.name == names.things[0])
        return ((wrong,) * 150 + mugs)[:max_objects]


def test_a_model_of_300_answers_is_asked_for_them_of_which_100_of_a_name_count(
    tmp_path: Path,
) -> None:
    dataset = open_benchmark("coco", write_coco(tmp_path), ObjectTask.DETECTION)
    found = Crowded(dataset)
    scores = evaluate_objects(dataset, found, ObjectTask.DETECTION).per_category
    assert scores["mug"]["box_ap"] == pytest.approx(1)
    found.max_instances = 100
    scores = evaluate_objects(dataset, found, ObjectTask.DETECTION).per_category
    assert scores["mug"]["box_ap"] == 0


@pytest.mark.parametrize("task", [ObjectTask.PANOPTIC, ObjectTask.SEMANTIC])
def test_instances_are_no_ground_truth_of_all_pixels(task: ObjectTask, tmp_path: Path) -> None:
    file = write_coco(tmp_path) / "annotations" / "instances_val2017.json"
    dataset = open_benchmark("coco", file, task)
    with pytest.raises(DatasetError, match=rf"{task.value} does not score .* segments_info"):
        evaluate_objects(dataset, Truth(dataset), task)


def boxes(kind: str, found: list[Detection], truth: LabelledObjects) -> AveragePrecision:
    scores = AveragePrecision(kind, 2)  # type: ignore[arg-type]
    scores.add(truth, found)
    return scores


def labelled(
    image: np.ndarray, labels: np.ndarray, corners: np.ndarray, masks: np.ndarray | None
) -> LabelledObjects:
    """Objects without crowds."""
    sides = (corners[:, 2:] - corners[:, :2]).astype(np.float64)
    none = np.zeros(len(labels), bool)
    return LabelledObjects(
        image, labels, corners.astype(np.float32), masks, sides.prod(1), crowds=none, pseudo=none
    )


def picture(**values: object) -> LabelledObjects:
    """A picture with one mug, label 0."""
    mask = np.zeros((1, HEIGHT, WIDTH), bool)
    mask[0, MUG[1] : MUG[3], MUG[0] : MUG[2]] = True
    truth = labelled(np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.array([0]), np.array([MUG]), mask)
    return replace(truth, **values)  # type: ignore[arg-type]


def test_average_precision_is_that_of_pycocotools() -> None:
    generator = np.random.default_rng(0)
    ours = AveragePrecision("bbox", 3)
    images, truths, answers = [], [], []
    for image in range(1, 9):
        corners = generator.uniform(0, 60, (6, 2))
        all_boxes = np.concatenate([corners, corners + generator.uniform(5, 120, (6, 2))], 1)
        labels = generator.integers(0, 3, 6)
        crowds = np.array([False] * 5 + [True])
        truth = labelled(np.zeros((200, 200, 3), np.uint8), labels, all_boxes, None)
        truth = replace(truth, crowds=crowds)
        moved = (all_boxes + generator.normal(0, 4, (6, 4))).tolist()
        scores = generator.uniform(size=6).tolist()
        found = [
            Detection(int(label), score, tuple(box))
            for label, score, box in zip(labels, scores, moved, strict=True)
        ]
        ours.add(truth, found)
        images.append({"id": image, "width": 200, "height": 200})
        for label, box, crowd in zip(labels, truth.boxes, crowds, strict=True):
            x1, y1, x2, y2 = map(float, box)
            entry = {"image_id": image, "category_id": int(label), "iscrowd": int(crowd)}
            sides = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            truths.append({"id": len(truths) + 1, **entry, **sides})
        for each in found:
            x1, y1, x2, y2 = each.box
            entry = {"image_id": image, "category_id": each.label, "score": each.score}
            answers.append({**entry, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    with contextlib.redirect_stdout(io.StringIO()):
        table = COCO()
        categories = [{"id": label} for label in range(3)]
        table.dataset = {"images": images, "annotations": truths, "categories": categories}
        table.createIndex()
        theirs = COCOeval(table, table.loadRes(answers), "bbox")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    scores = ours.compute()
    values = (scores.ap, scores.ap50, scores.ap75, scores.small, scores.medium, scores.large)
    assert 0 < scores.ap < 1
    np.testing.assert_allclose(np.nan_to_num(values, nan=-1), theirs.stats[:6], atol=1e-6)


def test_no_answers_score_zero_and_no_objects_are_undefined() -> None:
    scores = boxes("segm", [], picture()).compute()
    assert scores.ap == 0 and scores.per_label[0] == 0 and np.isnan(scores.per_label[1])


def test_lvis_scores_a_name_only_where_it_was_looked_for() -> None:
    mug = Detection(0, 0.5, MUG)
    knife, mugs = Detection(1, 0.9, KNIFE), Detection(0, 0.9, KNIFE)
    looked = {"checked": frozenset({0, 1})}
    beyond = Detection(0, 0.9, (WIDTH - 20, HEIGHT - 10, WIDTH + 12, HEIGHT + 12))
    for found, values, expected in [
        ([mug, beyond], {"incomplete": frozenset({0})}, 1.0),
        ([mug, mugs], {}, 0.5),  # a false mug ranks first
        ([mug, mugs], {"incomplete": frozenset({0})}, 1.0),  # perhaps it is a mug
        ([mug, knife], looked, 1.0),
    ]:
        scores = boxes("bbox", found, picture(**values)).compute()
        assert scores.per_label[0] == pytest.approx(expected)
    assert len(boxes("bbox", [mug, knife], picture(checked=frozenset({0})))._found) == 1


def masks(*objects: tuple[str, np.ndarray]) -> ObjectMasks:
    made = [
        ObjectMask(row, name, 0.9, Box.of_mask(mask), mask[Box.of_mask(mask).slices])
        for row, (name, mask) in enumerate(objects, 1)
    ]
    return ObjectMasks(HEIGHT, WIDTH, ("mug", "wall"), tuple(made), "test")


def test_panoptic_quality_counts_what_was_missed() -> None:
    # Two mugs, of which one is found with an IoU of 0.75: SQ 0.75, RQ 1 / 1.5.
    both = np.zeros((2, HEIGHT, WIDTH), bool)
    both[0, :20, :20], both[1, 30:, 30:] = True, True
    truth = picture(labels=np.array([0, 0]), masks=both, crowds=np.zeros(2, bool))
    part = np.zeros((HEIGHT, WIDTH), bool)
    part[:15, :20] = True
    quality = PanopticQuality(1, 2)
    quality.add(truth, masks(("mug", part)), ("mug", "wall"))
    scores = quality.compute()
    assert (scores.sq, scores.rq) == (pytest.approx(0.75), pytest.approx(2 / 3))
    assert scores.pq == scores.pq_things == pytest.approx(0.5) and np.isnan(scores.pq_stuff)

    nothing = PanopticQuality(1, 2)
    nothing.add(truth, masks(), ("mug", "wall"))
    assert nothing.compute().pq == 0


def test_panoptic_quality_ignores_what_is_unlabelled() -> None:
    truth = picture()
    assert truth.masks is not None
    elsewhere = np.zeros((HEIGHT, WIDTH), bool)
    elsewhere[40:, 40:] = True
    quality = PanopticQuality(1, 2)
    quality.add(truth, masks(("mug", truth.masks[0]), ("mug", elsewhere)), ("mug", "wall"))
    assert quality.compute().pq == 1
    twice = {"labels": np.array([0, 0]), "crowds": np.zeros(2, bool)}
    overlapping = picture(masks=truth.masks.repeat(2, 0), **twice)
    with pytest.raises(DatasetError, match="overlap"):
        quality.add(overlapping, masks(), ("mug", "wall"))


def test_mean_iou_is_over_the_names_that_occur() -> None:
    truth = picture()
    assert truth.masks is not None
    half = truth.masks[0].copy()
    half[: (MUG[1] + MUG[3]) // 2] = False
    iou = MeanIou(2)
    iou.add(truth, masks(("mug", half)), ("mug", "wall"))
    assert iou.compute().miou == pytest.approx(0.5) and np.isnan(iou.compute().per_label[1])


def test_the_command_scores_a_model_and_writes_json(tmp_path: Path, capsys) -> None:
    weights = write_toy("openseed", tmp_path / "toy.safetensors")
    coco, out = write_coco(tmp_path / "coco"), tmp_path / "scores.json"
    for task, metric in (("panoptic", "pq"), ("conditioned", "mask_ap"), ("semantic", "miou")):
        arguments = ["coco", str(coco), "--task", task, "--model", str(weights)]
        assert main(["evaluate", *arguments, "--json", str(out)]) == 0
        content = json.loads(out.read_text())
        assert content["task"] == task and metric in content["metrics"]
        assert content["words"]["kitchen_knife"] == "kitchen knife"
        assert metric in capsys.readouterr().out
    file = coco / "annotations" / "instances_val2017.json"
    (coco / "annotations" / "instances_val2017").symlink_to(coco / "val2017")
    arguments = [str(file), "--task", "detection", "--limit", "1", "--short-side", "32"]
    assert main(["evaluate", "coco", *arguments, "--model", str(weights)]) == 0
    assert "1 images" in capsys.readouterr().out


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    for name, task, _ in CASES:
        folder = WRITERS[name](tmp_path / f"{name} {task.value}")
        opened = open_benchmark(name, folder, task)
        labels = [opened.source, *opened.source.rglob("*.png")]
        if task is ObjectTask.PANOPTIC:
            labels += folder.rglob("*.png")
        pictures = [path for path in folder.rglob("*.jpg") if name != "ade20k"]
        for path in filter(Path.is_file, [*labels, *pictures]):
            path.rename(path.with_suffix(".away"))
            with pytest.raises(DatasetError, match=path.name):
                open_benchmark(name, folder, task)
            path.with_suffix(".away").rename(path)
    for name, writer in WRITERS.items():
        writer(tmp_path / name)
    with pytest.raises(UsageError, match="its tasks are instance, detection, conditioned"):
        open_benchmark("lvis", tmp_path / "lvis", ObjectTask.PANOPTIC)
    with pytest.raises(DatasetError, match=r"annotations/lvis_v1_val\.json"):
        open_benchmark("lvis", tmp_path / "coco", ObjectTask.INSTANCE)
    with pytest.raises(DatasetError, match="does not exist"):
        open_benchmark("coco", tmp_path / "nowhere", ObjectTask.INSTANCE)
    dataset = open_benchmark("objects365", tmp_path / "objects365", ObjectTask.DETECTION)
    with pytest.raises(DatasetError, match="--task detection"):
        evaluate_objects(dataset, Truth(dataset), ObjectTask.INSTANCE)
    for words in (
        [],
        [str(tmp_path), "--backend", "openvino"],
        [str(tmp_path), "--report", "page"],
    ):
        assert main(["evaluate", "coco", *words]) == 1


def test_masks_that_a_model_made_are_no_ground_truth(tmp_path: Path) -> None:
    folder = write_coco(tmp_path)
    path = folder / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["pseudo_label"] = True
    path.write_text(json.dumps(content))
    dataset = open_benchmark("coco", folder, ObjectTask.INSTANCE)
    with pytest.raises(DatasetError, match="1 annotations are pseudo-labels"):
        evaluate_objects(dataset, Truth(dataset), ObjectTask.INSTANCE)
    allowed = evaluate_objects(dataset, Truth(dataset), ObjectTask.INSTANCE, pseudo_labels=True)
    assert allowed.pseudo_labels == 1
