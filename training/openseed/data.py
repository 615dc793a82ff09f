"""Photographs with objects as training batches: large-scale jitter, fixed crops, targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ovps_core.datasets.coco_objects import CocoObjects
from ovps_core.datasets.labelled_objects import LabelledObjects, ObjectDataset
from ovps_core.errors import DatasetError
from ovps_core.language.mirrored_names import mirrored_rows
from ovps_core.losses.matching import ObjectTargets
from ovps_core.models.interface import Preprocessing
from ovps_core.models.layers.boxes import centres_and_sizes
from ovps_core.structures.boxes import Box
from training.augmentation import photometric
from training.copy_paste import CopyPaste, paste_things
from training.left_out import LeftOut, read_or_replace
from training.openseed.recipe import DataRecipe
from training.openseed.shards import ObjectShards
from training.shards import INDEX, ShardStream
from training.stream import StreamPosition, stream_loader

Sample = tuple[Tensor, ObjectTargets]
Batch = tuple[Tensor, list[ObjectTargets]]
"""Pixels float [B, 3, S, S] and the objects of each image."""
_MIN_SIDE = 1.0  # pixels that are left of a box inside a crop


class Cropper:
    """Makes a square crop of a photograph with its objects.

    Args:
        names: of the labels.
        recipe: size and augmentation.
        preprocessing: normalisation.
        augment: scale, crop, mirror and recolour at random; otherwise the image just fits into the square. An
            image with a "left glove" is mirrored only if "right glove" is a name too.
    """

    def __init__(
        self,
        names: Sequence[str],
        recipe: DataRecipe,
        preprocessing: Preprocessing,
        *,
        augment: bool,
    ) -> None:
        self.recipe = recipe
        self.augment = augment
        colours = (recipe.colour_jitter, recipe.blur, recipe.noise)
        self.recolour = None
        if augment and any(colours):
            self.recolour = v2.Compose(
                [*photometric(*colours), v2.ToDtype(torch.float32, scale=True)]
            )
        rows = mirrored_rows([(name,) for name in names])
        self.mirrored_labels = np.array([-1 if row is None else row for row in rows])
        self.mean, self.std = (
            np.array(values, dtype=np.float32) * 255
            for values in (preprocessing.mean, preprocessing.std)
        )

    def __call__(self, sample: LabelledObjects) -> Sample:
        """The crop, a new random one at each call if augmented."""
        labels = self.mirrored_labels[sample.labels]
        crop = self._crop(*sample.image.shape[:2], may_mirror=bool((labels >= 0).all()))
        if crop.mirrored:
            sample = replace(sample, labels=labels)
        picture = crop.cut(sample.image)
        if self.recolour is not None:
            shown = tv_tensors.Image(torch.from_numpy(picture).permute(2, 0, 1))
            picture = 255 * self.recolour(shown).permute(1, 2, 0).numpy()
        content = (picture.astype(np.float32) - self.mean) / self.std
        side = self.recipe.size
        pixels = torch.zeros(3, side, side)  # the network pads with zeros
        pixels[:, : crop.height, : crop.width] = torch.from_numpy(content).permute(2, 0, 1)
        return pixels, self._targets(sample, crop)

    def _crop(self, height: int, width: int, *, may_mirror: bool) -> _Crop:
        """The crop of an image of a size: random if augmented, else the whole image."""
        side = self.recipe.size
        scale, mirrored = side / max(height, width), False
        if self.augment:
            low, high = self.recipe.min_scale, self.recipe.max_scale
            scale *= float(torch.empty(()).uniform_(low, high))
            mirrored = bool(torch.rand(()) < self.recipe.flip) and may_mirror
        scaled = (max(1, round(height * scale)), max(1, round(width * scale)))
        top, left = (int(torch.randint(max(0, length - side) + 1, ())) for length in scaled)
        return _Crop((height, width), scaled, top, left, side, mirrored)

    def _targets(self, sample: LabelledObjects, crop: _Crop) -> ObjectTargets:
        """The objects that are inside the crop, relative to it."""
        side = self.recipe.size
        boxes = crop.boxes(sample.boxes)
        kept = np.asarray(((boxes[:, 2:] - boxes[:, :2]) > _MIN_SIDE).all(1))
        masks = None
        if sample.masks is not None:
            masks = torch.zeros(len(sample.masks), side, side, dtype=torch.bool)
            for row, mask in enumerate(sample.masks):
                cut = crop.cut(mask.astype(np.uint8), cv2.INTER_NEAREST) > 0
                masks[row, : crop.height, : crop.width] = torch.from_numpy(cut)
                # what the crop cut off is not in the box
                if kept[row] and cut.any() and not sample.pseudo[row]:
                    boxes[row] = Box.of_mask(cut).corners
                kept[row] &= bool(cut.any())
            masks = masks[torch.from_numpy(kept)]
        return ObjectTargets(
            torch.from_numpy(sample.labels[kept]),
            centres_and_sizes(torch.from_numpy(boxes[kept] / side).float()),
            masks,
        )


def copy_paste(
    source: ObjectDataset | ObjectShards, probability: float
) -> CopyPaste[LabelledObjects]:
    """Copy-paste augmentation of a data set."""
    return CopyPaste(probability, partial(paste_things, things=len(source.things)))


def _streamed_crop(
    paste: CopyPaste[LabelledObjects], crop: Cropper, sample: LabelledObjects
) -> Sample:
    return crop(paste.streamed(sample))


class ObjectCrops(Dataset[Sample]):
    """Data set of square crops of photographs with their objects.

    Args:
        photographs: the images.
        recipe, preprocessing, augment: see :class:`Cropper`.
        left_out: counts damaged images; a random other one then replaces one. None to raise.
    """

    def __init__(
        self,
        photographs: ObjectDataset,
        recipe: DataRecipe,
        preprocessing: Preprocessing,
        *,
        augment: bool,
        left_out: LeftOut | None = None,
    ) -> None:
        self.photographs = photographs
        self.left_out = left_out
        self.limit = recipe.limit
        self.crop = Cropper(photographs.names, recipe, preprocessing, augment=augment)
        self.copy_paste = copy_paste(photographs, recipe.copy_paste if augment else 0)

    def __len__(self) -> int:
        return min(self.limit or len(self.photographs), len(self.photographs))

    def __getitem__(self, index: int) -> Sample:
        """One crop, a new random one at each call if augmented."""
        sample = self._read(index)
        return self.crop(
            self.copy_paste(sample, lambda: self._read(int(torch.randint(len(self), ()))))
        )

    def _read(self, index: int) -> LabelledObjects:
        read = self.photographs.read
        if self.left_out is None:
            return read(index)
        return read_or_replace(read, index, len(self), self.left_out, lambda _: True)


@dataclass(frozen=True)
class _Crop:
    """A part of a scaled image, at the top left of a square.

    Attributes:
        original, scaled: (height, width) of the image before and after scaling.
        top, left: first row and column of the scaled image in the crop.
        side: of the square.
        mirrored: columns are reversed.
    """

    original: tuple[int, int]
    scaled: tuple[int, int]
    top: int
    left: int
    side: int
    mirrored: bool

    @property
    def height(self) -> int:
        """Rows of the square with content."""
        return min(self.side, self.scaled[0])

    @property
    def width(self) -> int:
        """Columns of the square with content."""
        return min(self.side, self.scaled[1])

    def cut(self, array: NDArray[np.uint8], interpolation: int = -1) -> NDArray[np.uint8]:
        """The content of an image or mask uint8 [H, W, ...], with an antialiased filter by default."""
        if interpolation < 0:
            shrinks = self.scaled[0] < self.original[0]
            interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        scaled = cv2.resize(array, self.scaled[::-1], interpolation=interpolation)
        content = scaled[self.top : self.top + self.height, self.left : self.left + self.width]
        return np.ascontiguousarray(content[:, ::-1] if self.mirrored else content, dtype=np.uint8)

    def boxes(self, corners: NDArray[np.float32]) -> NDArray[np.float64]:
        """Boxes (x1, y1, x2, y2) [N, 4] of the image in the square, cut at its content."""
        vertical, horizontal = (s / o for s, o in zip(self.scaled, self.original, strict=True))
        scale, offset = np.array([horizontal, vertical] * 2), np.array([self.left, self.top] * 2)
        moved = corners.astype(np.float64) * scale - offset
        if self.mirrored:
            moved[:, [0, 2]] = self.width - moved[:, [2, 0]]
        return moved.clip(0, np.array([self.width, self.height] * 2))


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack the pixels of samples; the targets stay a list."""
    return torch.stack([pixels for pixels, _ in samples]), [targets for _, targets in samples]


def open_objects(path: Path, recipe: DataRecipe) -> CocoObjects:
    """Open a COCO file.

    Raises:
        DatasetError: it is malformed, or has pseudo-labels although the recipe does not allow them.
    """
    photographs = CocoObjects(path, images=recipe.images or None)
    _check_labels(path, photographs.pseudo_labels, recipe)
    return photographs


def _open_source(path: Path, recipe: DataRecipe) -> CocoObjects | ObjectShards:
    """Open a COCO file, or a folder of packed data, see :func:`open_objects`."""
    if not (path / INDEX).is_file():
        return open_objects(path, recipe)
    shards = ObjectShards.open(path)
    _check_labels(path, shards.pseudo_labels, recipe)
    return shards


def _check_labels(path: Path, pseudo_labels: int, recipe: DataRecipe) -> None:
    if pseudo_labels and not recipe.pseudo_labels:
        raise DatasetError(
            f"{path}: a model made the masks of {pseudo_labels} annotations (pseudo-labels). To learn "
            "from them, set `data: {pseudo_labels: true}`."
        )


class ObjectCropsModule(L.LightningDataModule):
    """Loaders of training crops, one for each data file, and of each scored image once.

    Args:
        files: annotation files or folders of packed data to learn from.
        val: annotation file to score on; None for the first training file, or none.
        recipe: sizes and augmentation.
        preprocessing: normalisation.
        batch: images of each file per step.
        seed: of the order and the augmentation.
        score_on_train: without ``val``, score on the first training file, unless it is packed.

    Attributes:
        left_out: damaged images and shards of the training.
    """

    def __init__(
        self,
        files: Sequence[Path],
        val: Path | None,
        recipe: DataRecipe,
        preprocessing: Preprocessing,
        *,
        batch: int,
        seed: int,
        score_on_train: bool,
    ) -> None:
        super().__init__()
        self.left_out = LeftOut()
        self.sources = [_open_source(path, recipe) for path in files]
        self.recipe, self.preprocessing = recipe, preprocessing
        self.batch, self.seed, self.workers = batch, seed, recipe.workers
        scored = open_objects(val, recipe) if val else None
        first = self.sources[0]
        if scored is None and score_on_train and isinstance(first, CocoObjects):
            scored = first
        self.scored = scored
        self.score_crops = None
        if scored is not None:
            self.score_crops = ObjectCrops(scored, recipe, preprocessing, augment=False)

    def train_dataloader(self) -> list[DataLoader[Sample]]:
        """An endless loader for each file."""
        start = StreamPosition.of(self.trainer, self.seed)
        return [self._loader(source, start) for source in self.sources]

    def _loader(
        self, source: CocoObjects | ObjectShards, start: StreamPosition
    ) -> DataLoader[Sample]:
        if isinstance(source, ObjectShards):
            crop = Cropper(source.names, self.recipe, self.preprocessing, augment=True)
            paste = copy_paste(source, self.recipe.copy_paste)
            convert = partial(_streamed_crop, paste, crop)
            stream = ShardStream(source, convert, start, self.left_out)
            return stream.loader(self.batch, num_workers=self.workers, collate_fn=collate)
        crops = ObjectCrops(
            source, self.recipe, self.preprocessing, augment=True, left_out=self.left_out
        )
        return stream_loader(
            crops,
            self.batch,
            start,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            collate_fn=collate,
        )

    def val_dataloader(self) -> DataLoader[Sample] | list[DataLoader[Sample]]:
        """Loader of every scored image once; empty if there are none."""
        if self.score_crops is None:
            return []
        return DataLoader(self.score_crops, batch_size=self.batch, collate_fn=collate)

    def transfer_batch_to_device(
        self, batch: object, device: torch.device, dataloader_idx: int
    ) -> object:
        """Move pixels and targets."""
        if isinstance(batch, Tensor):
            return batch.to(device)
        if isinstance(batch, ObjectTargets):
            masks = batch.masks.to(device) if batch.masks is not None else None
            return ObjectTargets(batch.labels.to(device), batch.boxes_cxcywh.to(device), masks)
        if isinstance(batch, list | tuple):
            return type(batch)(
                self.transfer_batch_to_device(each, device, dataloader_idx) for each in batch
            )
        return batch
