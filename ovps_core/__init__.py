"""Open-vocabulary part segmentation: where is the part these words name?

>>> from ovps_core import PartSegmenter
>>> masks = PartSegmenter.from_pretrained("ovps-tiny").segment("desk.jpg", ["knife handle", "mug rim"])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovps_core.postprocess import SegmentOptions
    from ovps_core.query import PartQuery, parse_queries
    from ovps_core.results import PartMask, PartMasks, Roi
    from ovps_core.segmenter import PartSegmenter

_HOMES = {
    "PartMask": "results",
    "PartMasks": "results",
    "PartQuery": "query",
    "PartSegmenter": "segmenter",
    "Roi": "results",
    "SegmentOptions": "postprocess",
    "parse_queries": "query",
}
__all__ = [
    "PartMask",
    "PartMasks",
    "PartQuery",
    "PartSegmenter",
    "Roi",
    "SegmentOptions",
    "parse_queries",
]


def __getattr__(name: str) -> Any:
    """Import on first use: ``import ovps_core`` alone costs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ovps_core' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ovps_core.{_HOMES[name]}"), name)
