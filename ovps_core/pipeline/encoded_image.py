"""An image that was encoded once, as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field

from ovps_core.models.interface import Features
from ovps_core.pipeline.preprocess import RgbImage


@dataclass(frozen=True)
class EncodedImage:
    """An image that was encoded once and can be queried any number of times.

    Attributes:
        features: features of the image, on the engine's device; they stay valid.
        height, width: size of the image, pixels.
        rgb: the image, uint8 [H, W, 3]; crops of objects are cut from it.
    """

    features: Features
    height: int
    width: int
    rgb: RgbImage = field(repr=False, compare=False)
