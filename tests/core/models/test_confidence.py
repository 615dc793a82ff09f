"""A model says when a picture is unlike those that it was trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ovps_core.models.confidence import ConfidenceMeasure
from ovps_core.models.interface import Features
from ovps_core.segmenter import PartSegmenter


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_the_mean_probability_of_the_best_object_or_background(kind) -> None:
    objects = np.zeros((1, 2, 1, 2), np.float32)
    objects[0, :, 0, 0] = 0.1, 0.7  # the second object
    objects[0, :, 0, 1] = 0.3, 0.1  # background
    parts = np.full((1, 5, 1, 2), 9.0, np.float32)
    features = Features((kind(np.concatenate([objects, parts], 1)),), (4, 8))
    confidence = ConfidenceMeasure(objects=2, usual=0.7)(features)
    assert confidence.mean == pytest.approx((0.7 + 0.6) / 2)
    assert confidence.is_unusual


def test_noise_is_unlike_the_training_pictures_and_a_table_is_not() -> None:
    tiny = PartSegmenter.from_pretrained("ovps-tiny")
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert tiny.confidence(tiny.encode(noise)).is_unusual
    assert not tiny.confidence(tiny.encode("docs/images/table.jpg")).is_unusual
