"""Open-vocabulary part segmentation: masks of the parts that words name.

>>> from ovps_core import PartSegmenter
>>> segmenter = PartSegmenter.from_pretrained("ovps-tiny")
>>> masks = segmenter.segment("docs/images/table.jpg", "knife handle")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovps_core.language.parser import parse_queries, parse_query
    from ovps_core.object_segmenter import ObjectSegmenter
    from ovps_core.pipeline.postprocess.components import SegmentOptions
    from ovps_core.segmenter import PartSegmenter
    from ovps_core.structures.boxes import Box
    from ovps_core.structures.masks import ObjectMask, ObjectMasks, PartMask, PartMasks
    from ovps_core.structures.query import PartQuery, RefusedQuery

_MODULES = {
    "Box": "structures.boxes",
    "ObjectMask": "structures.masks",
    "ObjectMasks": "structures.masks",
    "ObjectSegmenter": "object_segmenter",
    "PartMask": "structures.masks",
    "PartMasks": "structures.masks",
    "PartQuery": "structures.query",
    "PartSegmenter": "segmenter",
    "RefusedQuery": "structures.query",
    "SegmentOptions": "pipeline.postprocess.components",
    "parse_queries": "language.parser",
    "parse_query": "language.parser",
}
__all__ = [
    "Box",
    "ObjectMask",
    "ObjectMasks",
    "ObjectSegmenter",
    "PartMask",
    "PartMasks",
    "PartQuery",
    "PartSegmenter",
    "RefusedQuery",
    "SegmentOptions",
    "parse_queries",
    "parse_query",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import ovps_core`` alone does not import torch."""
    if name not in _MODULES:
        raise AttributeError(f"module 'ovps_core' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ovps_core.{_MODULES[name]}"), name)
