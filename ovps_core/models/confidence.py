"""Confidence of a model on an image, to tell images that are unlike those it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ovps_core.models.interface import Features


@dataclass(frozen=True)
class Confidence:
    """Confidence on one image.

    Attributes:
        mean: 0 to 1, see :class:`ConfidenceMeasure`.
        usual: 95% of the validation images have a mean of at least this.
    """

    mean: float
    usual: float

    @property
    def is_unusual(self) -> bool:
        """True if the image is unlike those that the model was trained on."""
        return self.mean < self.usual


@dataclass(frozen=True)
class ConfidenceMeasure:
    """Mean over all pixels of the probability of the most probable object or background.

    It is the maximum softmax probability of Hendrycks and Gimpel (ICLR 2017) for a softmax per pixel.

    Attributes:
        objects: number of object channels, which are the first ones of the first level of the features. They are
            probabilities; the background has the rest.
        usual: see :class:`Confidence`.
    """

    objects: int
    usual: float

    def mean(self, features: Features[Any]) -> float:
        """Confidence on one encoded image, whose features are on any device."""
        level = features.levels[0][0, : self.objects]
        if not isinstance(level, np.ndarray):
            level = level.detach().float().cpu().numpy()
        background = 1 - level.sum(axis=0)
        return float(np.maximum(background, level.max(axis=0)).mean())

    def __call__(self, features: Features[Any]) -> Confidence:
        """Confidence on one encoded image, beside the usual one."""
        return Confidence(self.mean(features), self.usual)
