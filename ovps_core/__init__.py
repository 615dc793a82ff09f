"""Open-vocabulary part segmentation: where is the part these words name?

>>> from ovps_core import PartSegmenter
>>> segmenter = PartSegmenter.from_pretrained("ovps-tiny")
>>> masks = segmenter.segment("docs/images/table.jpg", "knife handle")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovps_core.language.parser import parse_queries, parse_query
    from ovps_core.pipeline.postprocess.components import SegmentOptions
    from ovps_core.segmenter import PartSegmenter
    from ovps_core.structures.masks import Box, PartMask, PartMasks
    from ovps_core.structures.query import PartQuery

_HOMES = {
    "PartMask": "structures.masks",
    "PartMasks": "structures.masks",
    "PartQuery": "structures.query",
    "PartSegmenter": "segmenter",
    "Box": "structures.masks",
    "SegmentOptions": "pipeline.postprocess.components",
    "parse_queries": "language.parser",
    "parse_query": "language.parser",
}
__all__ = [
    "Box",
    "PartMask",
    "PartMasks",
    "PartQuery",
    "PartSegmenter",
    "SegmentOptions",
    "parse_queries",
    "parse_query",
]


def __getattr__(name: str) -> Any:
    """Import on first use: ``import ovps_core`` alone costs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ovps_core' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ovps_core.{_HOMES[name]}"), name)
