"""Images of any size for object models: resized, and padded where the aspect ratio is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ovps_core.models.interface import CanvasSpec, Preprocessing
from ovps_core.models.layers.boxes import centres_and_sizes, corners
from ovps_core.pipeline.preprocess import RgbImage, check_image, to_batch, to_pixels

Size = tuple[int, int]
"""(height, width), pixels."""


@dataclass(frozen=True)
class Canvas:
    """Place of an image in the padded pixels of a network; the content is at the top left.

    Attributes:
        pixels: size of the padded pixels.
        content: size of the resized image in them.
        image: size of the image itself.
    """

    pixels: Size
    content: Size
    image: Size

    def masks(self, logits: Tensor) -> Tensor:
        """Mask logits float [N, h, w] of the pixels -> float [N, H, W] at the size of the image."""
        upsampled = F.interpolate(
            logits[None], size=self.pixels, mode="bilinear", align_corners=False
        )
        height, width = self.content
        return F.interpolate(
            upsampled[..., :height, :width],
            size=self.image,
            mode="bicubic",
            align_corners=False,
            antialias=True,
        )[0]

    def boxes(self, boxes_cxcywh: Tensor) -> Tensor:
        """Boxes float [N, 4], (cx, cy, w, h) in 0..1 of the pixels -> (x1, y1, x2, y2) in pixels of the image.

        They are not clipped to the image.
        """
        vertical, horizontal = self._scale()
        return corners(boxes_cxcywh) * boxes_cxcywh.new_tensor([horizontal, vertical] * 2)

    def normalised(self, boxes_xyxy: Tensor) -> Tensor:
        """Inverse of :meth:`boxes`."""
        vertical, horizontal = self._scale()
        scaled = boxes_xyxy / boxes_xyxy.new_tensor([horizontal, vertical] * 2)
        return centres_and_sizes(scaled)

    def _scale(self) -> tuple[float, float]:
        """Image pixels per height and per width of the canvas."""
        vertical, horizontal = (
            padded / content * image
            for padded, content, image in zip(self.pixels, self.content, self.image, strict=True)
        )
        return vertical, horizontal


def resized(image: Size, short_side: int, max_side: int) -> Size:
    """Size of an image whose short side becomes ``short_side``, and the long side at most ``max_side``.

    >>> resized((480, 640), 240, 1000)
    (240, 320)
    >>> resized((480, 960), 240, 400)
    (200, 400)
    """
    scale = min(short_side / min(image), max_side / max(image))
    height, width = (max(1, int(length * scale + 0.5)) for length in image)
    return height, width


def to_canvas(
    images: Sequence[RgbImage], preprocessing: Preprocessing, canvas: CanvasSpec | None
) -> tuple[Tensor, tuple[Canvas, ...]]:
    """Pixels float [B, 3, H, W] of images of any sizes, and the place of each image in them.

    Zeros are padded after the normalisation.

    Args:
        images: RGB uint8 [h, w, 3].
        preprocessing: mean and standard deviation; its size is used without a canvas only.
        canvas: size of the pixels; None if the network takes images without their aspect ratio.

    Raises:
        ImageError: not an image.
    """
    for image in images:
        check_image(image)
    if canvas is None:
        size = preprocessing.size
        places = tuple(Canvas(size, size, (image.shape[0], image.shape[1])) for image in images)
        return to_batch(images, preprocessing), places
    contents = []
    for image in images:
        size = resized((image.shape[0], image.shape[1]), canvas.short_side, canvas.max_side)
        scaled = Preprocessing(size, preprocessing.mean, preprocessing.std)
        contents.append(to_pixels(image, scaled)[0])
    height, width = (
        math.ceil(max(content.shape[axis] for content in contents) / canvas.stride) * canvas.stride
        for axis in (1, 2)
    )
    pixels = torch.zeros(len(images), 3, height, width)
    canvases = []
    for row, (image, content) in enumerate(zip(images, contents, strict=True)):
        rows, columns = content.shape[1:]
        pixels[row, :, :rows, :columns] = content
        canvases.append(Canvas((height, width), (rows, columns), (image.shape[0], image.shape[1])))
    return pixels, tuple(canvases)
