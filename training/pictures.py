"""Plots for the eye: training samples as a network sees them, and its answers beside the truth."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovps_core.models.interface import Preprocessing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_ANSWERS = 12
"""Pictures in a plot of answers."""

_COLUMNS = 6
_COLOURS = 20


@dataclass(frozen=True)
class NamedBox:
    """A box of a training sample.

    Attributes:
        name: of its object.
        label: value of the object in the label map, for the colour.
        corners: (x1, y1, x2, y2) in pixels.
    """

    name: str
    label: int
    corners: tuple[float, float, float, float]


@dataclass(frozen=True)
class PreviewSample:
    """A training sample for the eye.

    Attributes:
        rgb: uint8 [H, W, 3].
        labels: int64 [H, W]; negative without a label.
        boxes: of objects.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.int64]
    boxes: tuple[NamedBox, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A picture with its true and its predicted labels; equal labels have equal colours.

    Attributes:
        rgb: uint8 [H, W, 3].
        truth: int64 [h, w]; negative without a label.
        predicted: the same.
    """

    rgb: NDArray[np.uint8]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]


def draw_samples(samples: Sequence[PreviewSample]) -> bytes:
    """Draw pictures above their labels, each label in a colour of its own; a PNG."""
    from matplotlib.figure import Figure

    rows = -(-len(samples) // _COLUMNS)
    figure = Figure(figsize=(2 * _COLUMNS, 4 * rows))
    axes = np.atleast_2d(figure.subplots(2 * rows, _COLUMNS, squeeze=False))
    for number, each in enumerate(samples):
        row, column = 2 * (number // _COLUMNS), number % _COLUMNS
        axes[row, column].imshow(each.rgb)
        axes[row + 1, column].imshow(each.rgb, alpha=0.35)
        _draw_labels(axes[row + 1, column], each.labels)
        _draw_boxes(axes[row + 1, column], each.boxes)
    return _as_png(figure, dpi=90 if not any(each.boxes for each in samples) else 150)


def draw_answers(answers: Sequence[Answer]) -> bytes:
    """Draw one column for each answer: the picture, the truth, the prediction; a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.7 * len(answers), 5.2))
    axes = figure.subplots(3, len(answers), squeeze=False)
    for column, each in enumerate(answers):
        axes[0, column].imshow(each.rgb)
        _draw_labels(axes[1, column], each.truth)
        _draw_labels(axes[2, column], each.predicted)
    return _as_png(figure, dpi=110)


def unnormalised(pixels: Tensor, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Colours uint8 [H, W, 3] of the normalised pixels float [3, H, W] of a network."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (preprocessing.mean, preprocessing.std))
    colours = (pixels.cpu() * std + mean).clamp(0, 1).permute(1, 2, 0)
    return np.asarray((colours * 255).byte().numpy())


def _draw_labels(axis: Axes, labels: NDArray[np.int64]) -> None:
    shown = np.ma.masked_where(labels < 0, labels % _COLOURS)
    axis.imshow(shown, cmap="tab20", vmin=0, vmax=_COLOURS - 1, interpolation="nearest")


def _draw_boxes(axis: Axes, boxes: Sequence[NamedBox]) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    for each in boxes:
        left, top, right, bottom = each.corners
        colour = colormaps["tab20"](each.label % _COLOURS)
        frame = Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour)
        axis.add_patch(frame)
        axis.text(left, top, each.name, fontsize=5, va="top", backgroundcolor=(1, 1, 1, 0.6))


def _as_png(figure: Figure, dpi: int) -> bytes:
    for axis in figure.axes:
        axis.axis("off")
    figure.tight_layout(pad=0.3)
    content = io.BytesIO()
    figure.savefig(content, dpi=dpi, format="png")
    return content.getvalue()
