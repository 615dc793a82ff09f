"""Plot of a trained model: photographs, true parts, predicted parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.labels import PartTargets
from ovps_core.models.interface import Preprocessing
from training.data import PartImages
from training.part_training import PartTraining

MAX_IMAGES = 12


@torch.no_grad()
def draw_predictions(training: PartTraining, images: PartImages, path: Path) -> None:
    """Draw a PNG with one column for each of the first images, at most ``MAX_IMAGES``.

    The rows are the photograph, the true parts, and the predicted parts (the highest map per pixel).
    """
    training.eval()
    count = min(MAX_IMAGES, len(images))
    num_object_parts = len(training.val_vocabulary.object_parts)
    figure = Figure(figsize=(1.7 * count, 5.2))
    axes = figure.subplots(3, count, squeeze=False)
    preprocessing = training.model.spec.preprocessing
    for column in range(count):
        pixels, object_parts, objects = images[column]
        truth, prediction = _label_maps(training, pixels, object_parts, objects)
        prediction[prediction == num_object_parts] = IGNORE
        axes[0, column].imshow(unnormalised(pixels, preprocessing))
        for row, labels in ((1, truth), (2, prediction)):
            axes[row, column].imshow(
                np.ma.masked_less(labels.numpy(), 0),
                cmap="tab20",
                vmin=0,
                vmax=max(num_object_parts - 1, 1),
                interpolation="nearest",
            )
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=110)


def unnormalised(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Colours float [H, W, 3], 0 to 1, of the normalised pixels float [3, H, W] of a network."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (preprocessing.mean, preprocessing.std))
    return (pixels * std + mean).clamp(0, 1).permute(1, 2, 0)


def _label_maps(
    training: PartTraining, pixels: Tensor, object_parts: Tensor, objects: Tensor
) -> tuple[Tensor, Tensor]:
    """(true, predicted) object-parts int64 [h, w] of one image, at the size of the logits."""
    device = training.device
    batch = pixels[None].to(device), object_parts[None].to(device), objects[None].to(device)
    _, logits = training.losses(batch, scoring=True)
    maps = logits.object_parts
    size = (maps.shape[-2], maps.shape[-1])
    truth = PartTargets(object_parts[None], objects[None]).resized(size).object_parts[0]
    return truth, maps[0].argmax(dim=0).cpu()
