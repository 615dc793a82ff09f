"""Pictures behind rendered objects: textures without objects, and photographs of any content."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ovps_core.synthetic.settings import IGNORED
from ovps_core.synthetic.wild import background


@dataclass(frozen=True)
class Backdrops:
    """Folders of background pictures; "" paints noise instead.

    Attributes:
        surfaces: folder of textures such as wood, stone and plaster, labelled as background.
        photos: folder of photographs that may show known objects; labelled as IGNORED.
    """

    surfaces: str = ""
    photos: str = ""

    def table_tops(self, count: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Draw ``count`` crops of surfaces, uint8 [256, 256, 3]; none without their folder.

        Raises:
            DatasetError: the folder has no picture.
        """
        if not self.surfaces:
            return []
        return [background(self.surfaces, 256, rng) for _ in range(count)]

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
        """Draw a picture.

        Returns:
            The picture uint8 [size, size, 3], and True if it is known to show no objects.

        Raises:
            DatasetError: a folder has no picture.
        """
        if self.photos and rng.random() < 0.55:
            return background(self.photos, size, rng), False
        return background(self.surfaces if rng.random() < 0.7 else "", size, rng), True


def replace_background(
    rgb: np.ndarray,
    parts: np.ndarray,
    is_background: np.ndarray,
    backdrops: Backdrops,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Replace the background of a rendered picture and update its part map.

    Args:
        rgb: rendered picture, uint8 [S, S, 3].
        parts: part map, uint8 [S, S].
        is_background: bool [S, S], pixels to replace.
        backdrops: pictures to draw from.
        rng: draws the picture and its blur.

    Returns:
        The new picture, and the part map with IGNORED where a photograph shows.
    """
    picture, has_no_objects = backdrops.draw(rgb.shape[0], rng)
    if rng.random() < 0.4:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 3.0)), np.uint8)
    alpha = is_background.astype(np.float32)
    soft = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 0.8))[..., None]
    blended = (rgb * (1 - soft) + picture * soft).astype(np.uint8)
    value = 0 if has_no_objects else IGNORED
    return blended, np.where(is_background & (parts == 0), value, parts).astype(np.uint8)
