"""Four pictures of a mug and a knife before a wall as a COCO file of objects."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

SIZE = 64


def write_pictures(folder: Path, name: str = "train", *, boxes_only: bool = False) -> Path:
    """Four pictures of a red mug and a blue knife before a grey wall, as a COCO file."""
    generator = np.random.default_rng(0)
    images, annotations = [], []
    (folder / name).mkdir(parents=True)
    for number in range(4):
        picture = generator.integers(110, 140, (SIZE, SIZE, 3), dtype=np.uint8)
        shapes = [
            (1, 4 + 4 * number, 6, 20, 24, (30, 40, 220)),
            (2, 8, 40 + 2 * number, 44, 8, (220, 60, 30)),
        ]
        if not boxes_only:
            annotations.append(
                {"image_id": number, "category_id": 3, "segmentation": [_corners(0, 0, SIZE, SIZE)]}
            )
        for category, x, y, width, height, colour in shapes:
            picture[y : y + height, x : x + width] = colour
            entry: dict[str, object] = {"bbox": [x, y, width, height]}
            if not boxes_only:
                entry["segmentation"] = [_corners(x, y, width, height)]
            annotations.append({"image_id": number, "category_id": category, **entry})
        cv2.imwrite(str(folder / name / f"{number}.png"), picture)
        images.append({"id": number, "file_name": f"{number}.png", "width": SIZE, "height": SIZE})
    for number, each in enumerate(annotations):
        each["id"] = number
    categories = [{"id": 1, "name": "mug"}, {"id": 2, "name": "knife"}]
    categories.append({"id": 3, "name": "wall-other-merged", "isthing": 0})
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / f"{name}.json"


def _corners(x: int, y: int, width: int, height: int) -> list[int]:
    return [x, y, x + width, y, x + width, y + height, x, y + height]
