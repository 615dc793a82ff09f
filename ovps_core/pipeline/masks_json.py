"""Part masks as plain values for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ovps_core.structures.masks import PartMasks
from ovps_core.structures.query import PartQuery


def masks_json(masks: PartMasks) -> dict[str, Any]:
    """Part masks as ``ovps segment`` prints them for a program; docs/query.md lists the keys.

    Each mask is that of the whole image, as COCO run lengths: ``pycocotools.mask.decode`` reads it.
    """
    from ovps_core.datasets.segmentations import encode_segmentation  # imports pycocotools

    return {
        "height": masks.height,
        "width": masks.width,
        "model": masks.model,
        "queries": [query_json(query) for query in masks.queries],
        "refused": [asdict(refused) for refused in masks.refused],
        "parts": [
            {
                "id": part.id,
                "query": query_json(part.query),
                "score": round(part.score, 4),
                "roi": asdict(part.box),
                "area": part.area,
                "object_id": part.object_id,
                "margin": round(part.margin, 4),
                "segmentation": encode_segmentation(part.full(masks.height, masks.width)),
            }
            for part in masks.parts
        ],
        "objects": [
            {
                "id": found.id,
                "name": found.name,
                "score": round(found.score, 4),
                "roi": asdict(found.box),
                "area": found.area,
                "segmentation": encode_segmentation(found.full(masks.height, masks.width)),
            }
            for found in masks.objects
        ],
    }


def query_json(query: PartQuery) -> dict[str, Any]:
    """A query, and how a model read it, as plain values; docs/query.md lists the keys."""
    return {
        "text": query.text,
        "object": query.object,
        "part": query.part,
        "which": query.which,
        "read_as": asdict(query.read_as) if query.read_as else None,
        "corrected": list(query.corrected),
        "ignored": list(query.ignored),
    }
