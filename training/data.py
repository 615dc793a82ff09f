"""Labelled images on their way into training: read, augmented, squashed, normalised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import lightning.pytorch as pl
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
from training.recipe import DataRecipe, OptimRecipe, Recipe, RecipeError

_BENCHMARKS: dict[str, Callable[[Path | None], BenchmarkReader]] = {
    "pascal-part-116": PascalPart116,
    "ade20k-part-234": ADE20KPart234,
    "partimagenet": PartImageNet,
}
FORMATS = (*_BENCHMARKS, "coco-folder")

Read = Callable[[], LabelledImage]


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from.

    Attributes:
        vocabulary: label maps hold positions in its ``object_parts`` and ``objects_with_parts``.
        train: one reader an image.
        val: the same for images to score on; empty where the data set's own protocol is for that.
    """

    vocabulary: Vocabulary
    train: tuple[Read, ...]
    val: tuple[Read, ...]


def open_data(recipe: DataRecipe, path: Path | None) -> TrainingData:
    """The images of a recipe.

    Args:
        recipe: which format, how many.
        path: the folder that holds a benchmark's folder, or a COCO file or folder. A COCO ``train.json``
            with a ``val.json`` or ``test.json`` beside it is scored on that.

    Raises:
        DatasetError: missing or half unpacked.
        RecipeError: no such format.
    """
    if recipe.format not in FORMATS:
        raise RecipeError(f"format {recipe.format!r} is none of {', '.join(FORMATS)}")
    limit = recipe.limit or None
    if recipe.format in _BENCHMARKS:
        reader = _BENCHMARKS[recipe.format](path)
        items = reader.training_items()
        return TrainingData(reader.vocabulary.seen(), tuple(i.read for i in items[:limit]), ())
    if path is None:
        raise DatasetError("a COCO data set needs its file or folder: --data DIR/train.json")
    folder = CocoFolder(path, object_name=recipe.object)
    vocabulary = _vocabulary_of(folder)
    others = [path.with_name(name) for name in ("val.json", "test.json")]
    beside = next(
        (other for other in others if path.name == "train.json" and other.is_file()), None
    )
    val = CocoFolder(beside, object_name=recipe.object) if beside else None
    return TrainingData(
        vocabulary,
        tuple(partial(read_coco, folder, image, vocabulary) for image in folder.images[:limit]),
        tuple(partial(read_coco, val, image, vocabulary) for image in val.images) if val else (),
    )


def read_coco(folder: CocoFolder, image: FolderImage, vocabulary: Vocabulary) -> LabelledImage:
    """An image of a COCO folder with label maps; where masks overlap the smaller one is on top.

    An object covers its own mask, if it has one, and its parts'.
    """
    pixels = folder.read(image)
    shape = pixels.shape[:2]
    objects = np.full(shape, IGNORE, dtype=np.int32)
    parts = np.full(shape, IGNORE, dtype=np.int32)
    masks = folder.masks(image, *shape)
    for category, mask in sorted(masks.items(), key=lambda item: -int(item[1].sum())):
        if category.object in vocabulary.objects_with_parts:
            objects[mask] = vocabulary.objects_with_parts.index(category.object)
        pair = (category.object, category.part)
        if pair in vocabulary.object_parts:
            parts[mask] = vocabulary.object_parts.index(pair)
    return LabelledImage(pixels, objects, parts)


def _vocabulary_of(folder: CocoFolder) -> Vocabulary:
    pairs = tuple((c.object, c.part) for c in folder.categories if c.object and c.part)
    if not pairs:
        raise DatasetError(
            f"{folder.directory} names no part of an object, so there is nothing to learn; give its "
            "categories `object` and `part`, or set `data: object:` in the recipe to the object that "
            "they are parts of"
        )
    objects = tuple(sorted({name for name, _ in pairs}))
    return Vocabulary(name=folder.directory.name, objects=objects, object_parts=pairs)


class PartImages(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Pixels float [3, H, W], pairs int64 [H, W] and objects int64 [H, W] of one image each.

    Args:
        reads: one reader an image.
        recipe: how images are varied; None for scoring, where they are only squashed.
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
        self.vary = _transforms(recipe, preprocessing.size, unshifted)
        self.finish = v2.Compose(
            [
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(preprocessing.mean, preprocessing.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.reads)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """One image; when training, another at random in place of one without a part."""
        sample = self.reads[index]()
        for _ in range(20 if self.skip_empty else 0):
            if sample.has_parts:
                break
            sample = self.reads[int(torch.randint(len(self.reads), ()))]()
        image = tv_tensors.Image(torch.from_numpy(sample.image).permute(2, 0, 1))
        labels = tv_tensors.Mask(torch.from_numpy(np.stack([sample.parts, sample.objects])))
        image, labels = self.vary(image, labels)
        pixels = self.finish(image if self.rgb else image.flip(0))
        pairs, objects = labels.as_subclass(Tensor).long()
        return pixels.as_subclass(Tensor), pairs, objects


def _transforms(recipe: DataRecipe | None, size: tuple[int, int], unshifted: bool) -> v2.Transform:
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


class PartImagesModule(pl.LightningDataModule):
    """Loaders of one recipe: an endless shuffle to train on, and every scored image once."""

    def __init__(self, data: TrainingData, recipe: Recipe, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.optim: OptimRecipe = recipe.optim
        self.workers = recipe.data.workers
        flags = {
            "rgb": recipe.corrections.rgb_training,
            "unshifted": recipe.corrections.unshifted_labels,
        }
        cached = recipe.data.cache
        kept: list[Read] = [lru_cache(maxsize=1)(read) for read in data.train[:cached]]
        train = (*kept, *data.train[cached:])
        self.train_images = PartImages(train, recipe.data, preprocessing, **flags)
        scored = train if recipe.score_on == "train" else data.val
        self.score_images = PartImages(scored, None, preprocessing)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor, Tensor]]:
        """As many images as the run has steps for, so that a small data set is not a thousand epochs."""
        count = self.optim.steps * self.optim.batch
        return DataLoader(
            self.train_images,
            batch_size=self.optim.batch,
            sampler=RandomSampler(self.train_images, num_samples=count),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            drop_last=True,
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor, Tensor]]:
        """Every scored image once; none where there are none."""
        return DataLoader(self.score_images, batch_size=self.optim.batch, num_workers=0)
