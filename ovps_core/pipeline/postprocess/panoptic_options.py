"""Thresholds of objects and panoptic maps; needs no PyTorch, since the command line shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PanopticOptions:
    """Thresholds of a panoptic map; the defaults are those of the released evaluation.

    Attributes:
        score_threshold: lowest score of a query.
        mask_threshold: lowest probability of a pixel.
        overlap_threshold: lowest share of a segment's own pixels that it keeps against the others.
    """

    score_threshold: float = 0.25
    mask_threshold: float = 0.5
    overlap_threshold: float = 0.8
