"""Rendered scenes as training batches: cropped, turned, mirrored, and lit anew each time they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ovps_core.language.vocabulary import IGNORE
from ovps_core.models.compact.model import PartFPNConfig
from ovps_core.synthetic.reader import RenderedScenes


@dataclass(frozen=True)
class LabelTable:
    """From the pair ids in rendered part maps to the rows of the three softmaxes; 0 is background.

    Attributes:
        objects, parts, pairs: int64 [ids], indexed by pair id; IGNORE where a pair is held out.
    """

    objects: NDArray[np.int64]
    parts: NDArray[np.int64]
    pairs: NDArray[np.int64]

    @classmethod
    def of(cls, config: PartFPNConfig, rendered: Sequence[tuple[str, str]]) -> LabelTable:
        """The table for scenes whose pixel value i + 1 is ``rendered[i]``; unknown objects are background."""
        rows = np.zeros((3, 256), dtype=np.int64)
        for value, (name, part) in enumerate(rendered, start=1):
            if name not in config.objects:
                continue
            rows[0, value] = 1 + config.objects.index(name)
            seen = (name, part) in config.object_parts
            rows[1, value] = 1 + config.parts.index(part) if seen else IGNORE
            rows[2, value] = 1 + config.object_parts.index((name, part)) if seen else IGNORE
        return cls(*rows)


class SceneCrops(Dataset[tuple[Tensor, Tensor]]):
    """(RGB uint8 [3, S, S], pair ids int64 [S, S]) of scenes drawn at random scale, turn and mirror.

    Args:
        scenes: a folder of rendered scenes.
        size: side S of the crops, pixels.
        augment: whether to draw at random; validation sees the scene as it is.
    """

    def __init__(self, scenes: RenderedScenes, size: int, *, augment: bool) -> None:
        self.scenes = scenes
        self.size = size
        self.augment = augment

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rgb, ids, _ = self.scenes.arrays(index)
        matrix = self._draw(rgb.shape[0]) if self.augment else _scaling(rgb.shape[0], self.size)
        shape = (self.size, self.size)
        rgb = cv2.warpAffine(
            np.asarray(rgb),
            matrix,
            shape,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        ids = cv2.warpAffine(
            np.asarray(ids),
            matrix,
            shape,
            flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return torch.from_numpy(rgb).permute(2, 0, 1), torch.from_numpy(ids.astype(np.int64))

    def _draw(self, side: int) -> NDArray[np.float64]:
        """A random similarity from scene to crop, float64 [2, 3]."""
        random = np.random.default_rng(int(torch.randint(2**31, ()).item()))
        zoom = np.exp(random.uniform(np.log(0.75), np.log(1.5))) * self.size / side
        aspect = np.exp(random.uniform(-0.15, 0.15))
        turn = random.normal(0, 0.25)
        mirror = random.choice([-1.0, 1.0])
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        linear = rotation @ np.diag([mirror * zoom * aspect, zoom / aspect])
        centre = side / 2 + random.uniform(-0.15, 0.15, 2) * side
        return np.column_stack([linear, self.size / 2 - linear @ centre])


def _scaling(side: int, size: int) -> NDArray[np.float64]:
    scale = size / side
    offset = 0.5 * scale - 0.5
    return np.array([[scale, 0, offset], [0, scale, offset]])


def relight(images: Tensor) -> Tensor:
    """Random exposure, contrast, colour cast and noise; RGB uint8 [B, 3, H, W] -> float [B, 3, H, W] in 0..1."""
    count = images.shape[0]

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.empty(count, channels, 1, 1, device=images.device).uniform_(low, high)

    images = images.float() / 255
    images = (images * draw(0.7, 1.3) * draw(0.9, 1.1, 3)).clamp(1e-3, 1) ** draw(0.8, 1.25)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * draw(0.75, 1.25)
    return (images + torch.randn_like(images) * draw(0, 0.03)).clamp(0, 1)
