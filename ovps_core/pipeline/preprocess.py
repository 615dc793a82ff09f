"""Preprocessing of images: check, resize, normalise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovps_core.errors import ImageError
from ovps_core.models.interface import Preprocessing
from ovps_core.structures.numpy_view import as_numpy_view

if TYPE_CHECKING:
    from torch import Tensor

RgbImage = NDArray[np.uint8]
"""uint8 [H, W, 3], red first."""
IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
"""Of files that a folder of photographs is searched for. TIFF and PGM beside them are often depth or labels."""


def image_paths(folder: str | Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Paths of all images in a folder, sorted by name.

    Raises:
        ImageError: the folder has no images.
    """
    paths = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in suffixes)
    if not paths:
        raise ImageError(f"no pictures in {folder}; expected a folder of {', '.join(suffixes)}")
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
    import torch

    batch = torch.empty(len(images), 3, *preprocessing.size)
    for row, image in enumerate(images):
        as_numpy_view(batch)[row] = as_numpy_view(to_pixels(image, preprocessing))[0]
    return batch


def to_pixels(image: RgbImage, preprocessing: Preprocessing) -> Tensor:
    """Convert RGB uint8 [H, W, 3] to normalised pixels float32 [1, 3, h, w] on the CPU.

    The image is resized with an antialiased bilinear filter in 8 bits, as by Pillow's ``BILINEAR``.
    """
    import torch
    from torch.nn.functional import interpolate

    resized = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).unsqueeze(0)
    if tuple(resized.shape[-2:]) != preprocessing.size:
        resized = interpolate(resized, size=preprocessing.size, mode="bilinear", antialias=True)
    return torch.from_numpy(_normalised(as_numpy_view(resized), preprocessing))


def to_batch_array(images: Sequence[RgbImage], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Convert images as :func:`to_batch` does, without PyTorch; a value of 0..255 may differ by 1."""
    height, width = preprocessing.size
    batch = np.empty((len(images), 3, height, width), np.uint8)
    for row, image in zip(batch, images, strict=True):
        if image.shape[:2] != preprocessing.size:
            picture = Image.fromarray(np.ascontiguousarray(image))
            image = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
        row[:] = image.transpose(2, 0, 1)
    return _normalised(batch, preprocessing)


def _normalised(values: NDArray[Any], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Values 0..255 [B, 3, h, w] to float32, less mean, over standard deviation."""
    mean, std = (
        np.asarray(each, dtype=np.float32)[:, None, None] * 255
        for each in (preprocessing.mean, preprocessing.std)
    )
    pixels: NDArray[np.float32] = values.astype(np.float32, order="C")
    pixels -= mean
    pixels /= std
    return pixels
