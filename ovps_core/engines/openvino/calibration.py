"""What a network is shown and asked while it is quantised."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from ovps_core.pipeline.preprocess import RgbImage, image_paths, load_image

T = TypeVar("T")
PAIRS = (
    *(("knife", "handle"), ("mug", "rim"), ("bottle", "cap"), ("chair", "leg"), ("car", "wheel")),
    *(("dog", "tail"), ("drawer", "knob"), ("person", "arm"), ("airplane", "wing"), ("cat", "eye")),
)
"""Objects and parts that are asked while a network is quantised."""

_SYNTHETIC = 8
_MOST = 64


def calibration_images(images: Sequence[RgbImage]) -> list[RgbImage]:
    """``images``, at most 64 spread evenly; without any, synthetic ones: coloured shapes on textured ground."""
    return _spread(images) or [_shapes(seed) for seed in range(_SYNTHETIC)]


def read_calibration(folder: str | Path | None) -> list[RgbImage]:
    """A folder's pictures, at most 64 spread evenly; none where no folder is named.

    Raises:
        ImageError: there is none in it, or one cannot be read.
    """
    if not folder:
        return []
    return [load_image(path) for path in _spread(image_paths(Path(folder).expanduser()))]


def images_digest(images: Sequence[RgbImage]) -> str:
    """What a quantised graph depends on: the pictures it was calibrated with."""
    digest = hashlib.sha256()
    for image in calibration_images(images):
        digest.update(f"{image.shape}".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()


def _spread(all_: Sequence[T]) -> list[T]:
    most = min(len(all_), _MOST)
    return [all_[i * len(all_) // most] for i in range(most)]


def _shapes(seed: int) -> RgbImage:
    random = np.random.default_rng(seed)
    coarse = random.integers(30, 225, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        colour = [int(value) for value in random.integers(0, 255, 3)]
        centre = int(random.integers(0, 640)), int(random.integers(0, 480))
        axes = int(random.integers(5, 120)), int(random.integers(5, 60))
        cv2.ellipse(
            image, centre, axes, float(random.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA
        )
    noise = random.normal(0, 6, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)
