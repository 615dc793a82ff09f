"""Labelled photographs as training batches: read, augmented, resized, normalised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import tv_tensors
from torchvision.transforms import v2

from ovps_core.datasets.ade20k_part import ADE20KPart234
from ovps_core.datasets.benchmark_reader import BenchmarkReader, LabelledImage
from ovps_core.datasets.coco_folder import CocoFolder, FolderImage
from ovps_core.datasets.partimagenet import PartImageNet
from ovps_core.datasets.pascal_part import PascalPart116
from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import IGNORE, Vocabulary
from ovps_core.models.interface import Preprocessing
from training.recipe import DataRecipe

_BENCHMARKS: dict[str, Callable[[Path | None], BenchmarkReader]] = {
    "pascal-part-116": PascalPart116,
    "ade20k-part-234": ADE20KPart234,
    "partimagenet": PartImageNet,
}

Read = Callable[[], LabelledImage]
Sample = tuple[Tensor, Tensor, Tensor]
"""Pixels float [3, H, W], object-parts int64 [H, W], objects int64 [H, W]."""


@dataclass(frozen=True)
class TrainingData:
    """Images to train and to score on.

    Attributes:
        vocabulary: label maps hold positions in its ``object_parts`` and ``objects_with_parts``.
        train: one reader per image.
        val: one reader per image to score on; empty for benchmarks, which have a protocol of their own.
    """

    vocabulary: Vocabulary
    train: tuple[Read, ...]
    val: tuple[Read, ...]


def open_data(recipe: DataRecipe, path: Path | None) -> TrainingData:
    """Open the images of a recipe.

    Args:
        recipe: format and number of images.
        path: the folder that holds a benchmark's folder, or a COCO file or folder. The ``val.json`` or
            ``test.json`` beside a COCO ``train.json`` is scored on.

    Raises:
        DatasetError: images or labels are missing, or no category is a part of an object.
    """
    limit = recipe.limit or None
    if recipe.format in _BENCHMARKS:
        reader = _BENCHMARKS[recipe.format](path)
        items = reader.training_items()
        return TrainingData(reader.vocabulary.seen(), tuple(i.read for i in items[:limit]), ())
    if path is None:
        raise DatasetError("a COCO data set needs its file or folder: --data DIR/train.json")
    folder = CocoFolder(path, object_name=recipe.object)
    vocabulary = _vocabulary_of(folder)
    candidates = [path.with_name(name) for name in ("val.json", "test.json")]
    beside = [file for file in candidates if path.name == "train.json" and file.is_file()]
    val = CocoFolder(beside[0], object_name=recipe.object) if beside else None
    return TrainingData(
        vocabulary,
        tuple(partial(read_coco, folder, image, vocabulary) for image in folder.images[:limit]),
        tuple(partial(read_coco, val, image, vocabulary) for image in val.images) if val else (),
    )


def read_coco(folder: CocoFolder, image: FolderImage, vocabulary: Vocabulary) -> LabelledImage:
    """Read an image of a COCO folder and draw its label maps; smaller masks are drawn over larger ones.

    An object covers its own mask, if it has one, and the masks of its parts.
    """
    pixels = folder.read(image)
    shape = pixels.shape[:2]
    objects = np.full(shape, IGNORE, dtype=np.int32)
    parts = np.full(shape, IGNORE, dtype=np.int32)
    masks = folder.masks(image, *shape)
    for category, mask in sorted(masks.items(), key=lambda item: -int(item[1].sum())):
        if category.object in vocabulary.objects_with_parts:
            objects[mask] = vocabulary.objects_with_parts.index(category.object)
        object_part = (category.object, category.part)
        if object_part in vocabulary.object_parts:
            parts[mask] = vocabulary.object_parts.index(object_part)
    return LabelledImage(pixels, objects, parts)


def _vocabulary_of(folder: CocoFolder) -> Vocabulary:
    object_parts = tuple((c.object, c.part) for c in folder.categories if c.object and c.part)
    if not object_parts:
        raise DatasetError(
            f"{folder.directory} names no part of an object, so there is nothing to learn; give its "
            "categories `object` and `part`, or set `data: object:` in the recipe to the object that "
            "they are parts of"
        )
    objects = tuple(sorted({name for name, _ in object_parts}))
    return Vocabulary(name=folder.directory.name, objects=objects, object_parts=object_parts)


class PartImages(Dataset[Sample]):
    """Data set of pixels float [3, H, W], object-parts int64 [H, W] and objects int64 [H, W].

    Args:
        reads: one reader per image.
        recipe: augmentation; None for scoring, where images are only resized.
        preprocessing: size and normalisation of the network.
        rgb: False swaps red and blue, as the released training does.
        unshifted: False resizes through a shortest edge of 800 (longest at most 1333), as released.
    """

    def __init__(
        self,
        reads: Sequence[Read],
        recipe: DataRecipe | None,
        preprocessing: Preprocessing,
        *,
        rgb: bool = True,
        unshifted: bool = True,
    ) -> None:
        self.reads = reads
        self.skip_empty = recipe is not None
        self.rgb = rgb
        self.augment = _transforms(recipe, preprocessing.size, unshifted)
        self.normalise = v2.Compose(
            [
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(preprocessing.mean, preprocessing.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.reads)

    def __getitem__(self, index: int) -> Sample:
        """One image; in training, an image without a part is replaced by a random other one."""
        sample = self.reads[index]()
        for _ in range(20 if self.skip_empty else 0):
            if sample.has_parts:
                break
            sample = self.reads[int(torch.randint(len(self.reads), ()))]()
        image = tv_tensors.Image(torch.from_numpy(sample.image).permute(2, 0, 1))
        labels = tv_tensors.Mask(torch.from_numpy(np.stack([sample.parts, sample.objects])))
        image, labels = self.augment(image, labels)
        pixels = self.normalise(image if self.rgb else image.flip(0))
        object_parts, objects = labels.as_subclass(Tensor).long()
        return pixels.as_subclass(Tensor), object_parts, objects


def _transforms(recipe: DataRecipe | None, size: tuple[int, int], unshifted: bool) -> v2.Transform:
    """Random augmentation of a recipe, or None's plain resize, to ``size``."""
    steps: list[torch.nn.Module] = []
    if not unshifted:
        steps.append(v2.Resize(800, max_size=1333))
    if recipe is not None and recipe.min_crop < 1:
        steps.append(v2.RandomResizedCrop(size, scale=(recipe.min_crop, 1.0), antialias=True))
    else:
        steps.append(v2.Resize(size, antialias=True))
    if recipe is not None:
        jitter = recipe.colour_jitter
        steps.append(v2.RandomHorizontalFlip(recipe.flip))
        steps.append(v2.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter))
    return v2.Compose(steps)


class PartImagesModule(L.LightningDataModule):
    """Loaders of training images in random order, and of each scored image once.

    Args:
        data: the readers.
        recipe: augmentation, workers and cache.
        preprocessing: size and normalisation of the network.
        batch: images per step and device.
        steps: optimiser steps of the run.
        score_on: "val" or "train".
        rgb: see :class:`PartImages`.
        unshifted: see :class:`PartImages`.
    """

    def __init__(
        self,
        data: TrainingData,
        recipe: DataRecipe,
        preprocessing: Preprocessing,
        *,
        batch: int,
        steps: int,
        score_on: Literal["val", "train"],
        rgb: bool,
        unshifted: bool,
    ) -> None:
        super().__init__()
        self.batch, self.steps, self.workers = batch, steps, recipe.workers
        cached: list[Read] = [lru_cache(maxsize=1)(read) for read in data.train[: recipe.cache]]
        train = (*cached, *data.train[recipe.cache :])
        self.train_images = PartImages(train, recipe, preprocessing, rgb=rgb, unshifted=unshifted)
        scored = train if score_on == "train" else data.val
        self.score_images = PartImages(scored, None, preprocessing)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Loader of as many images as the run has steps for, so that a run is a single epoch."""
        count = self.steps * self.batch
        return DataLoader(
            self.train_images,
            batch_size=self.batch,
            sampler=RandomSampler(self.train_images, num_samples=count),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            drop_last=True,
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        """Loader of every scored image once; empty if there are none."""
        return DataLoader(self.score_images, batch_size=self.batch, num_workers=0)
