"""Images and queries that a network is calibrated with when it is quantised."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from ovps_core.pipeline.preprocess import RgbImage, image_paths
from ovps_core.structures.cache_folder import expand_home
from ovps_core.structures.image_files import load_image

T = TypeVar("T")
OBJECT_PARTS = (
    *(("knife", "handle"), ("mug", "rim"), ("bottle", "cap"), ("chair", "leg"), ("car", "wheel")),
    *(("dog", "tail"), ("drawer", "knob"), ("person", "arm"), ("airplane", "wing"), ("cat", "eye")),
)
"""Objects and parts of the queries that a decoder is calibrated with."""

_SYNTHETIC_IMAGES = 8
_MAX_IMAGES = 64


def calibration_images(calibration: Sequence[RgbImage]) -> list[RgbImage]:
    """At most 64 of the images, evenly spaced; for an empty sequence, synthetic ones.

    Synthetic images show coloured ellipses on a textured ground, RGB uint8 [480, 640, 3].
    """
    return _spread(calibration) or [_shapes(seed) for seed in range(_SYNTHETIC_IMAGES)]


def read_calibration(folder: str | Path | None) -> list[RgbImage]:
    """Read at most 64 images of a folder, evenly spaced, RGB uint8 [H, W, 3]; none if no folder is named.

    Raises:
        ImageError: the folder has no image, or one cannot be read.
    """
    return [load_image(path) for path in calibration_paths(folder)] if folder else []


def calibration_paths(folder: str | Path) -> list[Path]:
    """Paths of the images that :func:`read_calibration` reads.

    Raises:
        ImageError: the folder has no image.
    """
    return _spread(image_paths(expand_home(folder)))


def calibration_digest(calibration: Sequence[RgbImage]) -> str:
    """Digest of the images that :func:`calibration_images` gives."""
    digest = hashlib.sha256()
    for image in calibration_images(calibration):
        digest.update(f"{image.shape}".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()


def _spread(items: Sequence[T]) -> list[T]:
    count = min(len(items), _MAX_IMAGES)
    return [items[i * len(items) // count] for i in range(count)]


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
