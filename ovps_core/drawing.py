"""Pictures for people: masks over the image, with a legend of what was found."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from ovps_core.images import RgbImage
from ovps_core.results import PartMasks

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def colours(count: int) -> list[tuple[int, int, int]]:
    """``count`` RGB colours that are easy to tell apart, always the same."""
    golden = 0.618033988749895  # steps of the golden ratio never fall close to an earlier hue
    hues = [(0.58 + i * golden) % 1.0 for i in range(count)]
    return [tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.85, 1.0)) for hue in hues]  # type: ignore[misc]


def draw_masks(image: RgbImage, masks: PartMasks, alpha: float = 0.5) -> RgbImage:
    """The image with every part tinted and outlined in its query's colour, and a legend.

    Args:
        image: RGB uint8 [H, W, 3].
        masks: of that image.
        alpha: strength of the tint, 0..1.

    Returns:
        A new RGB uint8 [H, W, 3].
    """
    canvas = image.copy()
    palette = dict(zip(masks.queries, colours(len(masks.queries)), strict=True))
    line = max(1, round(min(image.shape[:2]) / 240))
    for part in reversed(masks.parts):  # the highest score is drawn last, on top
        colour = palette[part.query]
        window = canvas[part.roi.slices]
        tint = (1 - alpha) * window[part.mask] + alpha * np.array(colour)
        window[part.mask] = tint.astype(np.uint8)
        outlines, _ = cv2.findContours(
            part.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )
        offset = (part.roi.x_offset, part.roi.y_offset)
        cv2.drawContours(canvas, outlines, -1, colour, line, cv2.LINE_AA, offset=offset)
    _draw_legend(canvas, masks, palette)
    return canvas


def _draw_legend(canvas: RgbImage, masks: PartMasks, palette: dict) -> None:  # type: ignore[type-arg]
    """One line a query: its colour, its text, its best score, or that nothing was found."""
    scale = max(0.4, min(canvas.shape[:2]) / 900)
    step = round(28 * scale) + 6
    for row, query in enumerate(masks.queries):
        parts = masks.of(query)
        said = f"{parts[0].score:.2f}" if parts else "not found"
        text = f"{query.text[:40]}  {said}"
        (wide, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
        top = 6 + row * step
        cv2.rectangle(canvas, (6, top), (18 + step + wide, top + step), (24, 24, 24), cv2.FILLED)
        cv2.rectangle(
            canvas, (10, top + 4), (6 + step - 4, top + step - 4), palette[query], cv2.FILLED
        )
        cv2.putText(
            canvas, text, (12 + step, top + step - 9), _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA
        )
