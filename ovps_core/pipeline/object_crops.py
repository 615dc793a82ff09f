"""Mask and crop: each object of a label map alone at a network's size, and its maps back in the image.

For experiments, as :mod:`ovps_core.models.layers.attention_refinement` is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ovps_core.pipeline.preprocess import RgbImage, check_image
from ovps_core.structures.boxes import Box


@dataclass(frozen=True)
class ObjectCrop:
    """An object cut out of an image.

    Attributes:
        label: of the object.
        box: its tight box, pixels of the image.
        mask: bool [H, W], its pixels in the image.
        pixels: float32 [3, h, w], 0 to 255: the box at the network's size, aspect ratio lost, other objects black.
    """

    label: int
    box: Box
    mask: NDArray[np.bool_]
    pixels: Tensor

    def paste(self, logits: Tensor) -> Tensor:
        """Probabilities float [T, H, W] in the image, 0 outside the object, from logits float [T, h, w]."""
        height, width = self.box.height, self.box.width
        inside = _resized(logits, height, width).sigmoid()
        whole = logits.new_zeros(len(logits), *self.mask.shape)
        rows, columns = self.box.slices
        whole[:, rows, columns] = inside
        return whole * torch.from_numpy(self.mask).to(whole)


def object_crops(
    image: RgbImage, labels: NDArray[np.integer], size: tuple[int, int], background: int
) -> Iterator[ObjectCrop]:
    """Each object of a label map as a picture of its own, in the order of the labels.

    Args:
        image: RGB uint8 [H, W, 3].
        labels: integer [H, W].
        size: (height, width) of the network's input, pixels.
        background: label that is no object.

    Raises:
        ImageError: not an image.
    """
    check_image(image)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()
    for label in np.unique(labels):
        if label == background:
            continue
        mask = np.asarray(labels == label)
        box = Box.of_mask(mask)
        rows, columns = box.slices
        alone = pixels[:, rows, columns] * torch.from_numpy(mask[rows, columns])
        yield ObjectCrop(int(label), box, mask, _resized(alone, *size))


def _resized(maps: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(maps[None], size=(height, width), mode="bilinear", align_corners=False)[0]
