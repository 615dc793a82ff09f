"""Masks of a model as annotations of a COCO file."""

from __future__ import annotations

from typing import Any

from ovps_core.datasets.coco_folder import PSEUDO_LABEL
from ovps_core.datasets.segmentations import encode_segmentation
from ovps_core.structures.masks import PartMask


def pseudo_label(part: PartMask, height: int, width: int) -> dict[str, Any]:
    """The annotation of a mask, without the ids of its picture, its category and its own.

    Args:
        part: the mask.
        height, width: size of the picture, pixels.
    """
    box = part.box
    return {
        "bbox": list(box.xywh),
        "area": part.area,
        "iscrowd": 0,
        "segmentation": encode_segmentation(part.full(height, width)),
        "object": part.query.object,
        "part": part.query.part,
        "query": part.query.text,
        "score": round(part.score, 4),
        "track_id": part.track_id,
        PSEUDO_LABEL: True,
    }
