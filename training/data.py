"""Labelled photographs as training batches: read, augmented, resized, normalised."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ovps_core.datasets.benchmark_reader import LabelledImage
from ovps_core.datasets.coco_check import FolderImage
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.coco_problems import list_problems
from ovps_core.datasets.part_benchmarks import PART_BENCHMARKS
from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import IGNORE, UNKNOWN, Vocabulary
from ovps_core.models.interface import Preprocessing
from training.augmentation import transforms
from training.copy_paste import CopyPaste, paste_parts
from training.left_out import LeftOut, read_or_replace
from training.recipe import DataRecipe
from training.rendered import open_rendered, open_rendered_to_score
from training.shards import Shards, ShardStream
from training.stream import StreamPosition, stream_loader

Read = Callable[[], LabelledImage]
Sample = tuple[Tensor, Tensor, Tensor]
"""Pixels float [3, H, W], object-parts int64 [H, W], objects int64 [H, W]."""


@dataclass(frozen=True)
class TrainingData:
    """Images to train and to score on.

    Attributes:
        vocabulary: label maps hold positions in its ``object_parts`` and ``objects_with_parts``.
        train: one reader per image.
        val: one reader per image to score on; may be empty.
        shards: packed images to train on, in place of ``train``.
        val_vocabulary: label maps of ``val`` hold positions in it; None for ``vocabulary``.
        background_scored: pixels without a label are background in scores. Those of a benchmark are left out, as
            in its evaluation: an item has the labels of one object, and the picture may show others.
    """

    vocabulary: Vocabulary
    train: tuple[Read, ...]
    val: tuple[Read, ...]
    shards: Shards | None = None
    val_vocabulary: Vocabulary | None = None
    background_scored: bool = True


def open_data(recipe: DataRecipe, path: Path | None) -> TrainingData:
    """Open the images of a recipe.

    Args:
        recipe: format and number of images.
        path: the folder that holds a benchmark's folder, a COCO file or folder, or a folder of rendered scenes.
            The ``val.json`` or ``test.json`` beside a COCO ``train.json``, and the folder ``val`` beside a folder
            ``train`` of rendered scenes, are scored on.

    Raises:
        DatasetError: images or labels are missing, or no category is a part of an object.
    """
    limit = recipe.limit or None
    benchmark = PART_BENCHMARKS.get(recipe.format.replace("-", "_"))
    if benchmark is not None:
        reader = benchmark(path)
        items = reader.training_items()
        listed = reader.evaluation_items() if recipe.val_limit else ()
        count = min(recipe.val_limit, len(listed))
        scored = [listed[i] for i in np.linspace(0, len(listed), count, endpoint=False, dtype=int)]
        return TrainingData(
            reader.vocabulary.seen(),
            tuple(i.read for i in items[:limit]),
            tuple(i.read for i in scored),
            val_vocabulary=reader.vocabulary if scored else None,
            background_scored=False,
        )
    if path is None:
        raise DatasetError(
            "a data set needs its file or folder: --data DIR/train.json, or a folder of rendered scenes"
        )
    if recipe.format == "shards":
        shards = Shards.open(path)
        return TrainingData(shards.vocabulary, (), (), shards)
    if recipe.format == "rendered":
        train, seen = open_rendered(path, recipe.objects)
        beside = scored_beside(path, recipe.format)
        if beside is None:
            return TrainingData(seen, tuple(train[:limit]), ())
        shown, everything = open_rendered_to_score(beside, trained=seen)
        return TrainingData(seen, tuple(train[:limit]), tuple(shown), val_vocabulary=everything)
    folder = _open_coco(recipe, path)
    vocabulary = _vocabulary_of(folder)
    if not any(image.annotations for image in folder.images[:limit]):
        raise DatasetError(
            f"{path} labels no pixel of the {len(folder.images[:limit])} images, so there is nothing to learn; "
            "expected annotations with a segmentation or a mask"
        )
    found = scored_beside(path, recipe.format)
    val = _open_coco(recipe, found) if found else None
    return TrainingData(
        vocabulary,
        tuple(partial(read_coco, folder, image, vocabulary) for image in folder.images[:limit]),
        tuple(partial(read_coco, val, image, vocabulary) for image in val.images) if val else (),
    )


def scored_beside(path: Path, data_format: str) -> Path | None:
    """The file or folder beside the training data that is scored on; None if there is none."""
    names = {
        ("rendered", "train"): ["val"],
        ("coco-folder", "train.json"): ["val.json", "test.json"],
    }
    candidates = [path.with_name(name) for name in names.get((data_format, path.name), [])]
    exists = Path.is_dir if data_format == "rendered" else Path.is_file
    return next((each for each in candidates if exists(each)), None)


def _open_coco(recipe: DataRecipe, path: Path) -> CocoFolder:
    """A COCO folder whose every image can be read; says what was left out.

    An image with a broken annotation is left out whole: its pixels would be learned as background.
    """
    folder = CocoFolder(
        path,
        object_name=recipe.object,
        skip_broken=recipe.skip_broken,
        pseudo_labels=recipe.pseudo_labels,
    )
    folder.leave_out_damaged()
    intact = tuple(image for image in folder.images if image.is_intact)
    if folder.problems:
        print(
            f"{path}: {len(folder.problems)} problems, {len(intact)} images left to use\n"
            f"{list_problems(folder.problems)}",
            file=sys.stderr,
        )
    if not intact:
        raise DatasetError(
            f"{path} has no image that can be used; expected one without broken annotations"
        )
    folder.images = intact
    return folder


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
        vocabulary: of the labels; nothing is flipped without it.
        background: pixels without a label are background; False for ones of unknown content.
        left_out: counts damaged images in training.
    """

    def __init__(
        self,
        reads: Sequence[Read],
        recipe: DataRecipe | None,
        preprocessing: Preprocessing,
        *,
        rgb: bool = True,
        unshifted: bool = True,
        vocabulary: Vocabulary | None = None,
        background: bool = True,
        left_out: LeftOut | None = None,
    ) -> None:
        self.reads = reads
        self.background = background
        self.is_training = recipe is not None
        self.left_out = left_out or LeftOut()
        self.rgb = rgb
        self.copy_paste = CopyPaste(recipe.copy_paste if recipe else 0, paste_parts)
        self.augment = transforms(recipe, preprocessing.size, unshifted, vocabulary)
        self.normalise = v2.Compose(
            [
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(preprocessing.mean, preprocessing.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.reads)

    def __getitem__(self, index: int) -> Sample:
        """One image; in training, a random other one replaces an image that is damaged or has no part."""
        if not self.is_training:
            return self.convert(self.reads[index]())
        sample = self._read(index)
        return self.convert(
            self.copy_paste(sample, lambda: self._read(int(torch.randint(len(self), ()))))
        )

    def _read(self, index: int) -> LabelledImage:
        return read_or_replace(
            lambda i: self.reads[i](), index, len(self.reads), self.left_out, has_parts
        )

    def convert_streamed(self, sample: LabelledImage) -> Sample:
        """Augment and normalise one of the images that come one after the other."""
        return self.convert(self.copy_paste.streamed(sample))

    def convert(self, sample: LabelledImage) -> Sample:
        """Augment and normalise one image."""
        image = tv_tensors.Image(torch.from_numpy(sample.image).permute(2, 0, 1))
        labels = tv_tensors.Mask(torch.from_numpy(np.stack([sample.parts, sample.objects])))
        image, labels = self.augment(image, labels)
        if not self.background:
            labels[labels == IGNORE] = UNKNOWN
        pixels = self.normalise(image if self.rgb else image.flip(0))
        object_parts, objects = labels.as_subclass(Tensor).long()
        return pixels.as_subclass(Tensor), object_parts, objects


def has_parts(sample: LabelledImage) -> bool:
    """Whether an image shows a part, and not only background to learn from."""
    return sample.has_parts


class PartImagesModule(L.LightningDataModule):
    """Loaders of training images in random order, and of each scored image once.

    Args:
        data: the readers.
        recipe: augmentation, workers and cache.
        preprocessing: size and normalisation of the network.
        batch: images per step and device.
        seed: of the order and the augmentation.
        score_on: "val" or "train".
        rgb: see :class:`PartImages`.
        unshifted: see :class:`PartImages`.

    Attributes:
        left_out: damaged images and shards of the training.
    """

    def __init__(
        self,
        data: TrainingData,
        recipe: DataRecipe,
        preprocessing: Preprocessing,
        *,
        batch: int,
        seed: int,
        score_on: Literal["val", "train"],
        rgb: bool,
        unshifted: bool,
    ) -> None:
        super().__init__()
        self.batch, self.seed, self.workers = batch, seed, recipe.workers
        self.shards = data.shards
        self.left_out = LeftOut()
        cached: list[Read] = [lru_cache(maxsize=1)(read) for read in data.train[: recipe.cache]]
        train = (*cached, *data.train[recipe.cache :])
        self.train_images = PartImages(
            train,
            recipe,
            preprocessing,
            rgb=rgb,
            unshifted=unshifted,
            vocabulary=data.vocabulary,
            left_out=self.left_out,
        )
        scored = train if score_on == "train" else data.val
        self.score_images = PartImages(
            scored, None, preprocessing, background=data.background_scored
        )

    def train_dataloader(self) -> DataLoader[Sample]:
        """Endless loader of the training images."""
        start = StreamPosition.of(self.trainer, self.seed)
        if self.shards is not None:
            convert = self.train_images.convert_streamed
            stream = ShardStream(self.shards, convert, start, self.left_out, is_usable=has_parts)
            return stream.loader(self.batch, num_workers=self.workers)
        return stream_loader(
            self.train_images,
            self.batch,
            start,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        """Loader of every scored image once; empty if there are none."""
        return DataLoader(self.score_images, batch_size=self.batch, num_workers=0)
