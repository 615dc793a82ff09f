"""Overlays of masks on the image, with a legend of the queries."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.structures.masks import ObjectMasks, PartMasks
from ovps_core.structures.query import PartQuery

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEGEND_BACKGROUND = (24, 24, 24)


def colours(count: int) -> list[tuple[int, int, int]]:
    """Return ``count`` distinct RGB colours; they are the same on every call."""
    golden = 0.618033988749895  # steps of the golden ratio never fall close to an earlier hue
    hues = [(0.58 + i * golden) % 1.0 for i in range(count)]
    return [tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.85, 1.0)) for hue in hues]  # type: ignore[misc]


def hex_colour(rgb: tuple[int, int, int]) -> str:
    """Colour as HTML has it.

    >>> hex_colour((255, 0, 128))
    '#ff0080'
    """
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def draw_masks(image: RgbImage, masks: PartMasks, alpha: float = 0.5) -> RgbImage:
    """Draw every part in the colour of its query, with an outline, and a legend in the corner.

    Args:
        image: RGB uint8 [H, W, 3].
        masks: parts of that image.
        alpha: strength of the tint, 0..1.

    Returns:
        A new RGB uint8 [H, W, 3].
    """
    canvas = _tinted(image, masks, alpha)
    legend = _legend(masks, max(0.4, min(image.shape[:2]) / 900))
    corner = canvas[6 : 6 + legend.shape[0], 6 : 6 + legend.shape[1]]
    corner[:] = legend[: corner.shape[0], : corner.shape[1]]
    return canvas


def draw_page(image: RgbImage, masks: PartMasks) -> RgbImage:
    """Draw masks as :func:`draw_masks` does, with the legend below the image: RGB uint8 [H + h, W or more, 3]."""
    legend = _legend(masks, max(0.4, image.shape[1] / 1200))
    above, below = _tinted(image, masks, alpha=0.5), legend
    width = max(above.shape[1], below.shape[1])
    rows = [
        cv2.copyMakeBorder(
            part, 0, 0, 0, width - part.shape[1], cv2.BORDER_CONSTANT, value=_LEGEND_BACKGROUND
        )
        for part in (above, below)
    ]
    return np.vstack(rows).astype(np.uint8)


def draw_objects(image: RgbImage, objects: ObjectMasks) -> RgbImage:
    """Draw masks and boxes of objects in the colour of their name, with the legend below the image.

    Args:
        image: RGB uint8 [H, W, 3].
        objects: objects of that image.

    Returns:
        A new RGB uint8 [H + h, W or more, 3].
    """
    page = draw_page(image, objects.as_part_masks())
    palette = dict(zip(objects.names, colours(len(objects.names)), strict=True))
    line = max(1, round(min(image.shape[:2]) / 240))
    for found in objects.objects:
        if found.predicted_box is None:
            continue
        height, width = image.shape[:2]
        x1, y1, x2, y2 = (round(side) for side in found.predicted_box)
        first, second = (max(x1, 0), max(y1, 0)), (min(x2, width - 1), min(y2, height - 1))
        cv2.rectangle(page, first, second, palette[found.name], line)
    return page


def _palette(masks: PartMasks) -> dict[PartQuery, tuple[int, int, int]]:
    return dict(zip(masks.queries, colours(len(masks.queries)), strict=True))


def _tinted(image: RgbImage, masks: PartMasks, alpha: float) -> RgbImage:
    canvas, palette = image.copy(), _palette(masks)
    line = max(1, round(min(image.shape[:2]) / 240))
    for part in reversed(masks.parts):  # the highest score is drawn last, on top
        colour = palette[part.query]
        window = canvas[part.box.slices]
        tint = (1 - alpha) * window[part.mask] + alpha * np.array(colour)
        window[part.mask] = tint.astype(np.uint8)
        outlines, _ = cv2.findContours(
            part.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )
        offset = (part.box.x_offset, part.box.y_offset)
        cv2.drawContours(canvas, outlines, -1, colour, line, cv2.LINE_AA, offset=offset)
    return canvas


def _legend(masks: PartMasks, scale: float) -> RgbImage:
    """Legend RGB uint8 [h, w, 3]: per query its colour, label, and best score or "not found"."""
    palette, step = _palette(masks), round(28 * scale) + 6
    lines = []
    for query in masks.queries:
        parts = masks.of(query)
        lines.append(f"{query.label[:40]}  {f'{parts[0].score:.2f}' if parts else 'not found'}")
    pen = max(1, round(scale))
    sizes = [cv2.getTextSize(line, _FONT, scale, pen)[0] for line in lines]
    wide, tall = (max(lengths) for lengths in zip(*sizes, strict=True)) if sizes else (0, 0)
    legend = np.full((len(lines) * step, step + wide + 12, 3), _LEGEND_BACKGROUND, np.uint8)
    for row, (line, query) in enumerate(zip(lines, masks.queries, strict=True)):
        top = row * step
        cv2.rectangle(legend, (4, top + 4), (step - 4, top + step - 4), palette[query], cv2.FILLED)
        origin = (6 + step, top + (step + tall) // 2)
        cv2.putText(legend, line, origin, _FONT, scale, (255, 255, 255), pen, cv2.LINE_AA)
    return legend
