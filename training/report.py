"""What a run shows of itself: the curves of its losses and its answers beside the truth."""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.labels import PartTargets
from training.data import PartImages
from training.partclipseg.module import PartCLIPSegTraining

matplotlib.use("Agg")
from matplotlib import pyplot as plt

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def read_curves(metrics: Path) -> dict[str, Curve]:
    """Per logged name its steps and values, from Lightning's ``metrics.csv``."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    with metrics.open() as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value and name not in ("step", "epoch"):
                    steps, values = curves.setdefault(name, ([], []))
                    steps.append(float(row["step"]))
                    values.append(float(value))
    return {name: (np.array(steps), np.array(values)) for name, (steps, values) in curves.items()}


def join_curves(earlier: dict[str, Curve], later: dict[str, Curve]) -> dict[str, Curve]:
    """A resumed run's curves behind those from before it."""
    nothing: Curve = (np.zeros(0), np.zeros(0))
    pairs = {
        name: (earlier.get(name, nothing), later.get(name, nothing))
        for name in {**earlier, **later}
    }
    return {
        name: (np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]]))
        for name, (a, b) in pairs.items()
    }


def first_and_last(curve: Curve, count: int = 5) -> tuple[float, float]:
    """The first logged value and the mean of the last ``count``."""
    return float(curve[1][0]), float(curve[1][-count:].mean())


def plot_curves(curves: dict[str, Curve], path: Path) -> None:
    """Total, separation, enhancement and the score over steps, as a PNG."""
    wanted = ("loss/total", "loss/separation", "loss/enhancement", "score/part_miou")
    shown = [name for name in wanted if name in curves]
    figure, axes = plt.subplots(1, len(shown), figsize=(3.2 * len(shown), 2.6), squeeze=False)
    for axis, name in zip(axes[0], shown, strict=True):
        axis.plot(*curves[name])
        axis.set_title(name)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


@torch.no_grad()
def draw_answers(training: PartCLIPSegTraining, images: PartImages, path: Path) -> None:
    """Of the first twelve images a column each: photograph, true parts, answered parts (the best map a pixel)."""
    training.eval()
    count = min(12, len(images))
    pairs = len(training.vocabulary.object_parts)
    figure, axes = plt.subplots(3, count, figsize=(1.7 * count, 5.2), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    preprocessing = training.model.spec.preprocessing
    mean, std = (torch.tensor(v)[:, None, None] for v in (preprocessing.mean, preprocessing.std))
    for column in range(count):
        pixels, *labels = (values[None] for values in images[column])
        _, logits = training.losses((pixels.to(training.device), *_to(labels, training.device)))
        size = (logits.object_parts.shape[-2], logits.object_parts.shape[-1])
        truth = PartTargets(labels[0], labels[1]).resized(size).pairs[0]
        answer = logits.object_parts[0].argmax(dim=0).cpu()
        answer[answer == pairs] = IGNORE
        axes[0, column].imshow((pixels[0] * std + mean).clamp(0, 1).permute(1, 2, 0))
        for row, shown in ((1, truth), (2, answer)):
            seen = np.ma.masked_equal(shown.numpy(), IGNORE)
            axes[row, column].imshow(
                seen, cmap="tab20", vmin=0, vmax=max(pairs - 1, 1), interpolation="nearest"
            )
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _to(labels: list[torch.Tensor], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return labels[0].to(device), labels[1].to(device)
