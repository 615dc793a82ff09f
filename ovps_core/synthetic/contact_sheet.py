"""Contact sheet of scenes: each picture beside its coloured parts and their names."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from ovps_core.synthetic.catalogue import OBJECT_PARTS
from ovps_core.synthetic.settings import Scene

COLUMNS = 4
LEGEND_HEIGHT = 74
MAX_LEGEND_ENTRIES = 18


def object_part_colours() -> np.ndarray:
    """Return a colour for each pixel value of a part map, RGB uint8 [256, 3]; 0 is black."""
    colours = np.zeros((256, 3), np.uint8)
    for i in range(1, 256):
        rgb = colorsys.hsv_to_rgb(
            i * 0.381966 % 1.0, 0.55 + 0.4 * (i % 3) / 2, 0.95 - 0.3 * (i % 2)
        )
        colours[i] = (np.array(rgb) * 255).astype(np.uint8)
    return colours


def contact_sheet(
    scenes: Sequence[Scene], object_parts: Sequence[tuple[str, str]] = OBJECT_PARTS
) -> np.ndarray:
    """Draw an RGB sheet uint8 [H, W, 3]; each cell is a picture, its part map and a legend.

    Args:
        scenes: all of one size.
        object_parts: the (object, part) of pixel value i + 1 is ``object_parts[i]``.
    """
    colours = object_part_colours()
    side = scenes[0].rgb.shape[0]
    cells = []
    for scene in scenes:
        cell = np.full((side + LEGEND_HEIGHT, 2 * side, 3), 255, np.uint8)
        cell[:side, :side] = scene.rgb
        cell[:side, side:] = scene.rgb // 3 + colours[scene.parts] // 3 * 2
        named = (scene.parts > 0) & (scene.parts <= len(object_parts))  # 255 is unknown
        for k, value in enumerate(np.unique(scene.parts[named])[:MAX_LEGEND_ENTRIES]):
            pixels = int((scene.parts == value).sum())
            x, y = 4 + (k % 3) * (2 * side // 3), side + 11 + (k // 3) * 12
            cv2.rectangle(cell, (x, y - 7), (x + 7, y), colours[value].tolist(), -1)
            text = f"{' '.join(object_parts[value - 1])} {pixels}"
            cv2.putText(
                cell, text, (x + 11, y), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1, cv2.LINE_AA
            )
        cells.append(cell)
    while len(cells) % COLUMNS:
        cells.append(np.full_like(cells[0], 255))
    rows = [np.hstack(cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)]
    return np.vstack(rows)
