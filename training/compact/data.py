"""Rendered scenes as training batches, with random crops, rotations, mirroring and lighting."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler, Subset

from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import IGNORE
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.synthetic.reader import RenderedScenes, is_rendered
from ovps_core.synthetic.scans import SCAN_OBJECT_PARTS
from ovps_core.synthetic.settings import IGNORED
from ovps_core.synthetic.wild import background
from training.compact.augment import (
    Picture,
    crop,
    degrade,
    new_generator,
    random_similarity,
    scaling,
)
from training.compact.photographs import (
    UNCERTAIN,
    PastedObjects,
    PhotographCrops,
    Sample,
    as_sample,
    mirrored_ids,
    photographs_to_score,
    read_photographs,
    read_unlabelled,
)
from training.stream import SampleStream, SeededIndex, SeededSamples, StreamPosition

VAL_SIZE = 192
"""Side of validation scenes, pixels."""
VAL_PHOTOGRAPH_SIZE = 320
"""Side of validation photographs, pixels; they show smaller parts than scenes do."""
MAX_VAL_PICTURES = 128

NOTHING_ABSENT = np.zeros(256, bool)


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
        classes[:, [IGNORED, UNCERTAIN]] = IGNORE
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
    """Crops of rendered scenes with random scale, rotation, mirroring and camera faults.

    Args:
        scenes: a folder of rendered scenes.
        size: side S of the crops, pixels.
        augment: draw at random; False gives the whole scene.
        object_parts: (object, part) of the pixel values from 1 on in the crops; those of the scenes without it.
    """

    def __init__(
        self,
        scenes: RenderedScenes,
        size: int,
        *,
        augment: bool,
        object_parts: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.scenes = scenes
        self.size = size
        self.augment = augment
        values = {pair: value for value, pair in enumerate(object_parts, start=1)}
        self._values = np.arange(256, dtype=np.uint8)
        for value, pair in enumerate(scenes.object_parts, start=1):
            self._values[value] = values.get(pair, value if not object_parts else IGNORED)
        self._mirrored_ids = mirrored_ids(object_parts or scenes.object_parts)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sample:
        """One crop; a new random one at each call if augmented."""
        if self.augment:
            rgb, ids, rng = self.random_crop(index)
            return as_sample(degrade(rgb, rng), ids, NOTHING_ABSENT)
        rgb, ids, _ = self.scenes.arrays(index)
        ids = self._values[ids]
        matrix = scaling(ids.shape[0], ids.shape[1], self.size)
        rgb, ids = crop(rgb, ids, matrix, self.size, unknown_outside=False)
        return as_sample(rgb, ids, NOTHING_ABSENT)

    def random_crop(self, index: int) -> tuple[Picture, Picture, np.random.Generator]:
        """Random crop of a scene, RGB uint8 [S, S, 3] and ids uint8 [S, S], and the generator that drew it."""
        rgb, ids, _ = self.scenes.arrays(index)
        ids = self._values[ids]
        height, width = ids.shape
        rng = new_generator()
        zoom = float(np.exp(rng.uniform(np.log(0.55), np.log(1.7))))
        shift = rng.uniform(-0.18, 0.18, 2)
        centre = (0.5 + shift[0]) * width, (0.5 + shift[1]) * height
        matrix = random_similarity(centre, zoom * self.size / height, self.size, rng)
        mirrored = self._mirrored_ids
        cut = crop(rgb, ids, matrix, self.size, unknown_outside=False, mirrored_ids=mirrored)
        return *cut, rng


class CompactImages(L.LightningDataModule):
    """Loaders of rendered scenes and labelled photographs.

    Args:
        train: folders to learn from: rendered scenes, or labelled photographs with ``annotations.json``.
        val: rendered scenes or open photographs to score on, at most ``MAX_VAL_PICTURES`` of them; None for no
            scores.
        size: side of the training crops at first, pixels.
        batch: pictures per step.
        limit: number of training scenes, from the first; 0 for all.
        augment: crop, turn and mirror training scenes at random.
        photograph_share: share of a batch from photographs, if there are both kinds. Two fifths of it show
            objects of photographs pasted onto scenes.
        pseudo_labels: learn from annotations that a model made, too.
        labelled_only: leave out photographs that nobody has labelled.
        taught: objects whose absence from photographs is learned; empty for all.
        unlabelled: folders of pictures of which no label is read.
        unlabelled_share: share of a batch from these.
        object_parts: further (object, part) that photographs may show, beside those of the scenes.
        seed: of the order and the augmentation.
        workers: processes that read pictures.

    Attributes:
        object_parts: (object, part) of the pixel values from 1 on.
        val_pictures: what is scored; None for no scores.

    Raises:
        DatasetError: a folder holds neither kind of pictures, or there are too many object-parts.
    """

    def __init__(
        self,
        train: Sequence[Path],
        val: Path | CocoFolder | None,
        *,
        size: int,
        batch: int,
        limit: int = 0,
        augment: bool = True,
        photograph_share: float = 0.4,
        pseudo_labels: bool = False,
        labelled_only: bool = False,
        taught: Collection[str] = (),
        unlabelled: Sequence[Path] = (),
        unlabelled_share: float = 0.3,
        object_parts: Sequence[tuple[str, str]] = (),
        seed: int = 0,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.seed, self.batch, self.workers, self._size = seed, batch, workers, size
        rendered = [folder for folder in train if is_rendered(folder)]
        scenes_of = [RenderedScenes(folder) for folder in rendered]
        self.object_parts = _pixel_values([s.object_parts for s in scenes_of], object_parts)
        self.folders = [
            SceneCrops(s, size, augment=augment, object_parts=self.object_parts) for s in scenes_of
        ]
        photographs = [
            photograph
            for folder in train
            if folder not in rendered
            for photograph in read_photographs(
                folder,
                self.object_parts,
                pseudo_labels=pseudo_labels,
                labelled_only=labelled_only,
                taught=taught,
            )
        ]
        self.sources: list[Dataset[Sample]] = []
        self.shares: list[float] = []
        if self.folders:
            scenes: ConcatDataset[Sample] = ConcatDataset(self.folders)
            self.sources.append(Subset(scenes, range(min(limit or len(scenes), len(scenes)))))
            self.shares.append(1 - photograph_share if photographs else 1.0)
        self.photographs = PhotographCrops(photographs, size)
        self.pasted = PastedObjects(photographs, size, self._background)
        pictures = [p for folder in unlabelled for p in read_unlabelled(folder, self.object_parts)]
        self.unlabelled = PhotographCrops(pictures, size)
        share = photograph_share if self.folders else 1.0
        for source, part in ((self.photographs, 0.6), (self.pasted, 0.4)):
            if len(source):
                self.sources.append(source)
                self.shares.append(share * part)
        if len(self.unlabelled):
            self.shares = [share * (1 - unlabelled_share) for share in self.shares]
            self.sources.append(self.unlabelled)
            self.shares.append(unlabelled_share)
        self.val_pictures = None if val is None else self._pictures_to_score(val, object_parts)

    def __deepcopy__(self, memo: object) -> CompactImages:
        """Itself: a module with averaged weights needs no second copy of the pictures."""
        return self

    def set_crop_size(self, size: int) -> None:
        """Change the side of the training crops of all batches that are not asked for yet.

        Without workers that is from the next batch on. They are asked for two batches each in advance.
        """
        self._size = size
        for crops in self.folders:
            crops.size = size
        self.photographs.size = self.pasted.size = self.unlabelled.size = size

    @property
    def content(self) -> str:
        """Kinds of pictures that the network learns from, in words."""
        kinds = {"rendered scenes": self.folders, "photographs": self.photographs.photographs}
        return " and ".join(name for name, pictures in kinds.items() if pictures)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Endless loader of random training pictures."""
        lengths = [len(source) for source in self.sources]  # type: ignore[arg-type]
        weights = [
            share / length
            for share, length in zip(self.shares, lengths, strict=True)
            for _ in range(length)
        ]
        start = StreamPosition.of(self.trainer, self.seed)
        return DataLoader(
            _SizedSamples(self),
            self.batch,
            sampler=_SizedStream(self, SampleStream(len(weights), self.batch, start, weights)),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Sample] | list[Any]:
        """Loader of the validation pictures in order; empty without any."""
        return [] if self.val_pictures is None else DataLoader(self.val_pictures, 32)

    def _pictures_to_score(
        self, val: Path | CocoFolder, known: Sequence[tuple[str, str]]
    ) -> Dataset[Sample] | None:
        """The pictures of a folder; of photographs those that show a known object-part, None without any."""
        if isinstance(val, CocoFolder):
            values = [v for v, pair in enumerate(self.object_parts, start=1) if pair in known]
            photographs = photographs_to_score(val, self.object_parts, MAX_VAL_PICTURES)
            shown = [each for each in photographs if np.isin(each.ids, values).any()]
            return PhotographCrops(shown, VAL_PHOTOGRAPH_SIZE, augment=False) if shown else None
        crops = SceneCrops(
            RenderedScenes(val), VAL_SIZE, augment=False, object_parts=self.object_parts
        )
        return Subset(crops, range(min(MAX_VAL_PICTURES, len(crops))))

    def _background(self, size: int, rng: np.random.Generator) -> tuple[Picture, Picture]:
        """A random crop to paste objects onto: of a rendered scene, of an unlabelled picture, or painted noise."""
        if not self.folders and len(self.unlabelled):
            index = int(rng.integers(len(self.unlabelled)))
            rgb, ids, _ = self.unlabelled.random_crop(index, rng)
            return rgb, ids
        if not self.folders:
            return background("", size, rng), np.zeros((size, size), np.uint8)
        crops = self.folders[int(rng.integers(len(self.folders)))]
        rgb, ids, _ = crops.random_crop(int(rng.integers(len(crops))))
        return rgb, ids


SizedIndex = tuple[SeededIndex, int]
"""Index and seed of a sample, and the side of its crop."""


class _SizedStream(Sampler[SizedIndex]):
    """Indices with the side of the crops when they are asked for, which the processes that read cannot know."""

    def __init__(self, images: CompactImages, stream: SampleStream) -> None:
        self.images, self.stream = images, stream

    def __iter__(self) -> Iterator[SizedIndex]:
        for index in self.stream:
            yield index, self.images._size


class _SizedSamples(Dataset[Sample]):
    """Training crops of the sides that come with their indices."""

    def __init__(self, images: CompactImages) -> None:
        self.images = images
        sources: Dataset[Sample] = ConcatDataset(images.sources)
        self.samples = SeededSamples(sources)

    def __getitem__(self, index: SizedIndex) -> Sample:
        seeded, size = index
        if size != self.images._size:
            self.images.set_crop_size(size)
        return self.samples[seeded]


def _pixel_values(
    rendered: Sequence[Sequence[tuple[str, str]]], further: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """(object, part) of the pixel values from 1 on: those of the folder with the most, then all others."""
    longest = sorted(rendered, key=len, reverse=True) or [SCAN_OBJECT_PARTS]
    values = list(dict.fromkeys([*(pair for each in longest for pair in each), *further]))
    if len(values) >= UNCERTAIN:
        raise DatasetError(
            f"the pictures show {len(values)} object-parts, but one training run takes at most "
            f"{UNCERTAIN - 1}; leave out some folders or objects"
        )
    return values
