"""Rendered scenes as training batches, with random crops, rotations, mirroring and lighting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from ovps_core.language.vocabulary import IGNORE
from ovps_core.models.compact.model import PartFPNConfig
from ovps_core.synthetic.backdrops import IGNORED
from ovps_core.synthetic.reader import RenderedScenes

VAL_SIZE = 192
"""Side of validation crops, pixels."""
MAX_VAL_SCENES = 128

Sample = tuple[Tensor, Tensor]
"""RGB uint8 [3, S, S] and object-part ids int64 [S, S]."""


@dataclass(frozen=True)
class LabelTable:
    """Classes of the three softmaxes for each object-part id of rendered scenes; 0 is background.

    Attributes:
        objects: int64 [256], class of the object; IGNORE for pixels of unknown content.
        parts: int64 [256], class of the part; IGNORE for an object-part that is held out.
        object_parts: int64 [256], class of the object-part; IGNORE for one that is held out.
    """

    objects: NDArray[np.int64]
    parts: NDArray[np.int64]
    object_parts: NDArray[np.int64]

    @classmethod
    def from_config(cls, config: PartFPNConfig, rendered: Sequence[tuple[str, str]]) -> LabelTable:
        """The table for scenes whose pixel value i + 1 is ``rendered[i]``, an (object, part).

        Objects that the network does not know are background.
        """
        classes = np.zeros((3, 256), dtype=np.int64)
        classes[:, IGNORED] = IGNORE
        for value, (object_name, part_name) in enumerate(rendered, start=1):
            if object_name not in config.objects:
                continue
            object_part = (object_name, part_name)
            known = object_part in config.object_parts
            classes[0, value] = 1 + config.objects.index(object_name)
            classes[1, value] = 1 + config.parts.index(part_name) if known else IGNORE
            classes[2, value] = 1 + config.object_parts.index(object_part) if known else IGNORE
        return cls(*classes)


class SceneCrops(Dataset[Sample]):
    """Data set of RGB uint8 [3, S, S] and object-part ids int64 [S, S], with random scale, rotation and mirroring.

    Args:
        scenes: a folder of rendered scenes.
        size: side S of the crops, pixels.
        augment: draw at random; False gives the whole scene.
    """

    def __init__(self, scenes: RenderedScenes, size: int, *, augment: bool) -> None:
        self.scenes = scenes
        self.size = size
        self.augment = augment

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sample:
        """One crop; a new random one at each call if augmented."""
        rgb, ids, _ = self.scenes.arrays(index)
        side = rgb.shape[0]
        matrix = self._random_similarity(side) if self.augment else _scaling(side, self.size)
        rgb = self._warp(rgb, matrix, cv2.INTER_LINEAR)
        ids = self._warp(ids, matrix, cv2.INTER_NEAREST)
        return torch.from_numpy(rgb).permute(2, 0, 1), torch.from_numpy(ids.astype(np.int64))

    def _warp(
        self, array: NDArray[np.uint8], matrix: NDArray[np.float64], interpolation: int
    ) -> NDArray[np.uint8]:
        warped = cv2.warpAffine(
            np.asarray(array),
            matrix,
            (self.size, self.size),
            flags=interpolation,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return np.asarray(warped, dtype=np.uint8)

    def _random_similarity(self, side: int) -> NDArray[np.float64]:
        """A random transform from scene to crop, float64 [2, 3], nearly a similarity."""
        random = np.random.default_rng(int(torch.randint(2**31, ()).item()))
        zoom = np.exp(random.uniform(np.log(0.75), np.log(1.5))) * self.size / side
        aspect = np.exp(random.uniform(-0.15, 0.15))
        turn = random.normal(0, 0.25)
        mirror = random.choice([-1.0, 1.0])
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        linear = rotation @ np.diag([mirror * zoom * aspect, zoom / aspect])
        centre = side / 2 + random.uniform(-0.15, 0.15, 2) * side
        return np.column_stack([linear, self.size / 2 - linear @ centre])


class SceneCropsModule(L.LightningDataModule):
    """Loaders of rendered scenes.

    Args:
        train: folders to learn from.
        val: folder to score on; at most ``MAX_VAL_SCENES`` of it are used.
        size: side of the training crops at first, pixels.
        batch: scenes per step.
        limit: number of training scenes, from the first; 0 for all.
        augment: crop, turn and mirror training scenes at random.
    """

    def __init__(
        self,
        train: Sequence[Path],
        val: Path,
        *,
        size: int,
        batch: int,
        limit: int = 0,
        augment: bool = True,
    ) -> None:
        super().__init__()
        self.folders = [SceneCrops(RenderedScenes(f), size, augment=augment) for f in train]
        self.batch = batch
        scenes: Dataset[Sample] = ConcatDataset(self.folders)
        self.train_scenes = Subset(scenes, range(limit)) if limit else scenes
        crops = SceneCrops(RenderedScenes(val), VAL_SIZE, augment=False)
        self.val_scenes = Subset(crops, range(min(MAX_VAL_SCENES, len(crops))))

    @property
    def object_parts(self) -> list[tuple[str, str]]:
        """(object, part) per pixel value from 1 on, of the folder with the most of them."""
        return max((crops.scenes.object_parts for crops in self.folders), key=len)

    def set_crop_size(self, size: int) -> None:
        """Change the side of the training crops from the next batch on.

        The loader runs in this process, so the change reaches it.
        """
        for crops in self.folders:
            crops.size = size

    def train_dataloader(self) -> DataLoader[Sample]:
        """Loader of the training scenes in random order."""
        return DataLoader(self.train_scenes, self.batch, shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Loader of the validation scenes in order."""
        return DataLoader(self.val_scenes, 32)


def _scaling(side: int, size: int) -> NDArray[np.float64]:
    """The transform from a whole scene to a crop, float64 [2, 3], pixel centres on pixel centres."""
    scale = size / side
    offset = 0.5 * scale - 0.5
    return np.array([[scale, 0, offset], [0, scale, offset]])


def relight(images: Tensor) -> Tensor:
    """Random exposure, colour cast, gamma, contrast and noise.

    Args:
        images: RGB uint8 [B, 3, H, W].

    Returns:
        float [B, 3, H, W], 0 to 1.
    """
    count = images.shape[0]

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.empty(count, channels, 1, 1, device=images.device).uniform_(low, high)

    images = images.float() / 255
    images = (images * draw(0.7, 1.3) * draw(0.9, 1.1, 3)).clamp(1e-3, 1) ** draw(0.8, 1.25)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * draw(0.75, 1.25)
    return (images + torch.randn_like(images) * draw(0, 0.03)).clamp(0, 1)
