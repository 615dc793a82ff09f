"""Rendered scenes as a COCO file of objects with exact boxes and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ovps_core.datasets.coco_folder import ANNOTATIONS
from ovps_core.datasets.segmentations import encode_segmentation
from ovps_core.structures.boxes import Box
from ovps_core.structures.image_files import save_image
from ovps_core.structures.whole_files import write_json
from ovps_core.synthetic.reader import RenderedScenes

MIN_PIXELS = 50
"""Objects that show fewer pixels are crowd regions: finding them is neither right nor wrong."""


def write_coco(scenes: RenderedScenes, folder: Path) -> Path:
    """Write scenes as pictures and a COCO file, which trains and evaluates object models.

    ::

        FOLDER/images/000000.png ...
        FOLDER/annotations.json

    Args:
        scenes: from :func:`ovps_core.synthetic.generate.generate`.
        folder: it is created; existing files are replaced.

    Returns:
        The COCO file.

    Raises:
        OutputError: a file cannot be written.
    """
    names = list(dict.fromkeys(name for name, _ in scenes.object_parts))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in tqdm(range(len(scenes)), unit="image", disable=None):
        scene = scenes[number]
        height, width = scene.objects.shape
        name = f"images/{number:06d}.png"
        save_image(folder / name, np.asarray(scene.rgb))
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for row, (object_name, _) in enumerate(scene.instances, 1):
            mask = np.asarray(scene.objects) == row
            if not mask.any():
                continue
            box = Box.of_mask(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": names.index(object_name) + 1,
                    "bbox": list(box.xywh),
                    "area": int(mask.sum()),
                    "segmentation": encode_segmentation(mask),
                    "iscrowd": int(mask.sum() < MIN_PIXELS),
                }
            )
    categories = [
        {"id": row, "name": name, "object": name, "part": ""} for row, name in enumerate(names, 1)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(folder / ANNOTATIONS, content)
    return folder / ANNOTATIONS
