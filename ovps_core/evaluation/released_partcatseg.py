"""Exact emulation of the released PartCATSeg evaluation, for comparison with published numbers only.

It differs from that of PartCLIPSeg, so figures of the two papers are not on the same footing. Means over seen and
unseen classes leave out classes that were missed completely. A class that occurs in no label, but is predicted,
has an IoU of 0. Oracle-Obj finds an object's classes by a substring. The answer for the padded input is stretched
over the image.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ovps_core.evaluation.metrics import harmonic_miou, mean_of_valid, recall_per_class
from ovps_core.evaluation.protocols import Setting
from ovps_core.evaluation.released import iou_of_any, released_size
from ovps_core.models.catseg.model import CLIP_MEAN, CLIP_STD
from ovps_core.models.interface import Preprocessing

_STRIDE = 32  # to which images are padded


def resized_image(image: NDArray[np.uint8], sides: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an RGB image uint8 [H, W, 3] to :func:`released_size` with Pillow's bilinear filter."""
    height, width = released_size((image.shape[0], image.shape[1]), sides)
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def released_pixels(image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Normalise an image for CLIP and for the guidance backbone, then pad both at the right and bottom.

    The padding has the value 0 after the normalisation, up to sides that are multiples of 32.

    Args:
        image: RGB uint8 [H, W, 3].

    Returns:
        Two float32 [1, 3, h, w].
    """
    rgb = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0).float()
    imagenet = Preprocessing((0, 0))
    height, width = image.shape[:2]
    padding = (0, -width % _STRIDE, 0, -height % _STRIDE)
    clip, guidance = (
        functional.pad((rgb - _of_255(mean)) / _of_255(std), padding)
        for mean, std in ((CLIP_MEAN, CLIP_STD), (imagenet.mean, imagenet.std))
    )
    return clip, guidance


def _of_255(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).mul(255).float()[:, None, None]


def released_joint_metrics(
    confusion: NDArray[np.int64], setting: Setting, names: Sequence[str], seen: Collection[int]
) -> dict[str, float]:
    """Compute every metric of the released PartCATSeg evaluator under its own key.

    Args:
        confusion: int64 [T+1, T+1], rows predicted, columns true; the last class is "no part".
        setting: Oracle-Obj leaves out the last class; in Pred-All it is one of the classes.
        names: T class names, for the keys of single classes.
        seen: indices of the seen classes.

    Returns:
        Percentages by key, such as "mIoU-base"; NaN where undefined.
    """
    if setting is Setting.ORACLE_OBJ:
        confusion = confusion[:-1, :-1]
    true, hits = confusion.sum(axis=0), np.diag(confusion)
    iou, recall = iou_of_any(confusion), recall_per_class(confusion)
    pixels = true.sum()
    metrics = {
        "mIoU": mean_of_valid(iou),
        "fwIoU": float(np.nansum(iou * true) / max(pixels, 1)),
        "mACC": mean_of_valid(recall),
        "pACC": float(hits.sum() / pixels) if pixels else float("nan"),
        "mRecall": mean_of_valid(recall),
    }
    for index, name in enumerate(names):
        metrics[f"IoU-{name}"] = float(iou[index])
        metrics[f"ACC-{name}"] = metrics[f"Recall-{name}"] = float(recall[index])
    classes = np.arange(len(iou))
    in_base = np.isin(classes, list(seen))
    for group, members in (("base", in_base), ("unbase", ~in_base & (classes < len(names)))):
        found = members & (iou > 0)  # a class that was missed completely is left out
        metrics[f"mIoU-{group}"] = mean_of_valid(iou[found])
        metrics[f"mRecall-{group}"] = metrics[f"pACC-{group}"] = mean_of_valid(recall[found])
    percent = {key: 100 * value for key, value in metrics.items()}
    for key, metric in (("h-IoU", "mIoU"), ("h-Recall", "mRecall")):
        percent[key] = harmonic_miou(percent[f"{metric}-base"], percent[f"{metric}-unbase"])
    return percent
