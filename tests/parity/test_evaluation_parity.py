"""The evaluation gives the numbers of the original code, for every recorded seed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers.paths import FIXTURES
from helpers.recordings import recorded_arrays, recorded_items

from ovps_core.evaluation.metrics import confusion_matrix
from ovps_core.evaluation.predicted_labels import (
    oracle_obj_prediction,
    pred_all_prediction,
    predicted_objects,
)
from ovps_core.evaluation.protocols import Setting
from ovps_core.evaluation.released import (
    boundary_confusion,
    nearest_resize,
    released_metrics,
    shifted_labels,
)
from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.interface import PartLogits

pytestmark = pytest.mark.parity

MODELS = sorted((FIXTURES / "partclipseg").glob("seed*.npz"))
RECORDS = sorted((FIXTURES / "evaluator").glob("seed*.npz"))
UNSEEN = {"car", "dog"}
IGNORE = 255


@pytest.fixture(params=RECORDS, ids=lambda path: path.stem)
def record(request):
    """Recorded scores, labels, matrices and figures of the original evaluator, and the setting."""
    setting = Setting.ORACLE_OBJ if "oracle_obj" in request.param.stem else Setting.PRED_ALL
    return (
        recorded_arrays(request.param),
        json.loads(request.param.with_suffix(".json").read_text()),
        setting,
    )


def matrices_of(arrays) -> tuple[np.ndarray, np.ndarray]:
    classes = len(arrays["conf_matrix_before_evaluate"])
    confusion = np.zeros((classes, classes), dtype=np.int64)
    boundary = np.zeros_like(confusion)
    for item in recorded_items(arrays, "scores", "gt_resized"):
        scores = arrays[f"scores{item}"]
        truth = nearest_resize(arrays[f"gt_resized{item}"], scores.shape[1:])
        predicted = scores.argmax(axis=0)
        predicted[truth == IGNORE] = classes - 1
        truth[truth == IGNORE] = classes - 1
        confusion += confusion_matrix(predicted, truth, classes)
        boundary += boundary_confusion(predicted, truth, classes)
    return confusion, boundary


def test_confusion_matrices_are_exactly_the_originals(record):
    arrays, _, _ = record
    confusion, boundary = matrices_of(arrays)
    np.testing.assert_array_equal(confusion, arrays["conf_matrix_before_evaluate"])
    np.testing.assert_array_equal(boundary, arrays["boundary_conf_matrix"])


def test_every_figure_is_the_originals(record):
    arrays, expected, setting = record
    confusion, boundary = arrays["conf_matrix_before_evaluate"], arrays["boundary_conf_matrix"]
    names = [key.removeprefix("IoU-") for key in expected if key.startswith("IoU-")]
    seen = [index for index, name in enumerate(names) if name.split("'s ")[0] not in UNSEEN]
    figures = released_metrics(confusion, boundary, setting, names, seen)
    assert figures.keys() == expected.keys()
    for key, value in expected.items():
        wanted = np.nan if value is None else value
        np.testing.assert_allclose(
            figures[key], wanted, atol=1e-4, rtol=0, equal_nan=True, err_msg=key
        )


@pytest.fixture(params=MODELS, ids=lambda path: path.stem)
def answer(request):
    """A recorded answer of the original model: its logits, the toy vocabulary, and all arrays."""
    arrays = recorded_arrays(request.param)
    config = json.loads((request.param.parent / "config.json").read_text())
    pairs = tuple((name.split("'s ")[0], name.split("'s ")[1]) for name in config["object_parts"])
    vocabulary = Vocabulary(
        "toy", tuple(config["objects"]), pairs, frozenset(config["unseen_objects"])
    )
    names, pair_maps = (torch.from_numpy(arrays[f"test_{key}logits"]) for key in ("", "part_obj_"))
    return arrays, vocabulary, PartLogits(names, pair_maps)


def test_oracle_obj_labels_are_the_originals(answer):
    arrays, vocabulary, logits = answer
    size = arrays["test_image"].shape[:2]
    present = np.unique(arrays["test_sem_seg"])
    objects = [
        vocabulary.objects_with_parts.index(vocabulary.objects[index])
        for index in present[present != IGNORE]
        if vocabulary.objects[index] in vocabulary.objects_with_parts
    ]
    labels = oracle_obj_prediction(logits, vocabulary, objects, size)
    np.testing.assert_array_equal(labels.numpy(), arrays["test_oracle_argmax"])


def test_pred_all_labels_are_the_originals(answer):
    arrays, vocabulary, logits = answer
    size = arrays["test_image"].shape[:2]
    labels = pred_all_prediction(logits, vocabulary, size)
    np.testing.assert_array_equal(labels.numpy(), arrays["test_predall_argmax"])


def test_pred_all_objects_are_the_originals(answer):
    arrays, vocabulary, logits = answer
    ids = [vocabulary.objects.index(name) for name in vocabulary.objects_with_parts]
    ids.append(len(vocabulary.objects))
    objects = predicted_objects(logits, vocabulary, arrays["test_image"].shape[:2])
    np.testing.assert_array_equal(np.array(ids)[objects.numpy()], arrays["test_obj_pred"])


def test_released_labels_move_by_one_pixel():
    rows, columns = np.indices((375, 500), dtype=np.int32)
    for lines in (shifted_labels(rows)[:, 0], shifted_labels(columns)[0]):
        moved = np.count_nonzero(lines[1:] == np.arange(len(lines) - 1))
        assert moved > 0.9 * len(lines)
