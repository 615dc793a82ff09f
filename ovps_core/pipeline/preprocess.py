"""Preprocessing of image files and arrays: check, resize, normalise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovps_core.errors import ImageError
from ovps_core.models.interface import Preprocessing
from ovps_core.structures.numpy_view import as_numpy_view

RgbImage = NDArray[np.uint8]
"""uint8 [H, W, 3], red first."""
_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


def load_image(path: str | Path) -> RgbImage:
    """Read a file as RGB uint8 [H, W, 3], rotated by its EXIF orientation.

    Raises:
        ImageError: no such file, or not an image.
    """
    if not Path(path).is_file():
        raise ImageError(f"no image at {path}")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(
            f"{path} cannot be read as an image; expected JPEG, PNG or another OpenCV format"
        )
    return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


def image_paths(folder: str | Path) -> list[Path]:
    """Paths of all images in a folder, sorted by name.

    Raises:
        ImageError: the folder has no images.
    """
    paths = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise ImageError(f"no pictures in {folder}; expected a folder of {', '.join(_SUFFIXES)}")
    return paths


def check_image(image: RgbImage) -> None:
    """Raise ImageError unless ``image`` is uint8 [H, W, 3] with at least one pixel."""
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", type(image).__name__)
    if dtype != np.uint8 or shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ImageError(
            f"image of shape {shape} and type {dtype}; expected uint8 [H, W, 3] in RGB order"
        )


def to_batch(images: Sequence[RgbImage], preprocessing: Preprocessing) -> Tensor:
    """Convert several images of any sizes as :func:`to_pixels` does, to float32 [B, 3, h, w]."""
    if len(images) == 1:
        return to_pixels(images[0], preprocessing)
    batch = torch.empty(len(images), 3, *preprocessing.size)
    for row, image in enumerate(images):
        as_numpy_view(batch)[row] = as_numpy_view(to_pixels(image, preprocessing))[0]
    return batch


def to_pixels(image: RgbImage, preprocessing: Preprocessing) -> Tensor:
    """Convert RGB uint8 [H, W, 3] to normalised pixels float32 [1, 3, h, w] on the CPU.

    The image is resized with an antialiased bilinear filter in 8 bits, as by Pillow's ``BILINEAR``.
    """
    mean, std = (
        np.asarray(values, dtype=np.float32)[:, None, None] * 255
        for values in (preprocessing.mean, preprocessing.std)
    )
    resized = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).unsqueeze(0)
    if tuple(resized.shape[-2:]) != preprocessing.size:
        resized = F.interpolate(resized, size=preprocessing.size, mode="bilinear", antialias=True)
    pixels = as_numpy_view(resized).astype(np.float32, order="C")
    pixels -= mean
    pixels /= std
    return torch.from_numpy(pixels)
