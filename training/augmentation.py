"""Random changes of training pictures and their label maps, from the keys of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from ovps_core.language.mirrored_names import mirrored_rows
from ovps_core.language.vocabulary import IGNORE, UNKNOWN, Vocabulary
from training.recipe import DataRecipe

_CENTRE = v2.InterpolationMode.NEAREST_EXACT


class CentredResize(v2.Resize):
    """Resize in which labels stay below their picture; torchvision moves them by up to half a pixel."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Labels take the pixel at the centre of the new one."""
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        labels = v2.functional.resize(inpt.as_subclass(Tensor), self.size, _CENTRE, antialias=False)
        return tv_tensors.Mask(labels)


class CentredResizedCrop(v2.RandomResizedCrop):
    """Random crop in which labels stay below their picture, see :class:`CentredResize`."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Labels take the pixel at the centre of the new one."""
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        labels = v2.functional.resized_crop(
            inpt.as_subclass(Tensor),
            **params,
            size=self.size,
            interpolation=_CENTRE,
            antialias=False,
        )
        return tv_tensors.Mask(labels)


class NamedFlip(torch.nn.Module):
    """Random horizontal flip of a picture and its labels, in which left parts become right ones.

    Args:
        probability: of a flip.
        vocabulary: of the labels. What has no name in a mirror becomes ``UNKNOWN``.
    """

    def __init__(self, probability: float, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.probability = probability
        objects = [(name,) for name in vocabulary.objects_with_parts]
        self.object_parts = _mirrored_labels(vocabulary.object_parts)
        self.objects = _mirrored_labels(objects)

    def forward(
        self, image: tv_tensors.Image, labels: tv_tensors.Mask
    ) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        """Picture [3, H, W] and labels [2, H, W] of object-parts and objects, flipped or not."""
        if torch.rand(()) >= self.probability:
            return image, labels
        flipped = v2.functional.horizontal_flip(labels)
        parts, objects = flipped.as_subclass(Tensor).long()
        named = torch.stack([self.object_parts[parts], self.objects[objects]])
        return v2.functional.horizontal_flip(image), tv_tensors.Mask(named.to(labels.dtype))


def _mirrored_labels(names: Sequence[tuple[str, ...]]) -> Tensor:
    """The label that each one becomes in a mirror, int64 [N + 2]; the last are those of UNKNOWN and IGNORE."""
    rows = [UNKNOWN if row is None else row for row in mirrored_rows(names)]
    return torch.tensor([*rows, UNKNOWN, IGNORE])


def transforms(
    recipe: DataRecipe | None,
    size: tuple[int, int],
    unshifted: bool,
    vocabulary: Vocabulary | None,
) -> v2.Transform:
    """Random augmentation of a recipe, or None's plain resize, to ``size``."""
    steps: list[torch.nn.Module] = []
    if not unshifted:
        steps.append(v2.Resize(800, max_size=1333))
    if recipe is not None and recipe.min_crop < 1:
        random_crop = CentredResizedCrop if unshifted else v2.RandomResizedCrop
        steps.append(random_crop(size, scale=(recipe.min_crop, 1.0), antialias=True))
    else:
        resize = CentredResize if unshifted else v2.Resize
        steps.append(resize(size, antialias=True))
    if recipe is not None:
        if vocabulary is not None:
            steps.append(NamedFlip(recipe.flip, vocabulary))
        steps += photometric(recipe.colour_jitter, recipe.blur, recipe.noise)
    return v2.Compose(steps)


def photometric(colour_jitter: float, blur: float, noise: float) -> list[torch.nn.Module]:
    """Random changes of colours, in order; noise makes pixels float, 0 to 1.

    Args:
        colour_jitter: strength of random brightness, contrast and saturation; 0 for none.
        blur: probability of a Gaussian blur.
        noise: standard deviation of Gaussian noise, for values in 0..1.
    """
    # The jitter draws numbers even at 0, and they are part of a seed's pixels.
    steps: list[torch.nn.Module] = [
        v2.ColorJitter(brightness=colour_jitter, contrast=colour_jitter, saturation=colour_jitter)
    ]
    if blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.5))], blur))
    if noise:
        steps.append(v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True))
        steps.append(v2.GaussianNoise(sigma=noise))
    return steps
