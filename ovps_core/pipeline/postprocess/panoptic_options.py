"""Thresholds of objects and panoptic maps; needs no PyTorch, since the command line shows them."""

from __future__ import annotations

from dataclasses import dataclass

from ovps_core.errors import UsageError


@dataclass(frozen=True)
class PanopticOptions:
    """Thresholds of a panoptic map; the defaults are those of the released evaluation.

    Attributes:
        score_threshold: lowest score of a query.
        mask_threshold: lowest probability of a pixel.
        overlap_threshold: lowest share of a segment's own pixels that it keeps against the others.

    Raises:
        UsageError: one is not from 0 to 1.
    """

    score_threshold: float = 0.25
    mask_threshold: float = 0.5
    overlap_threshold: float = 0.8

    def __post_init__(self) -> None:
        """Check the range of each threshold."""
        for name in ("score_threshold", "mask_threshold", "overlap_threshold"):
            check_share(name, getattr(self, name))


def check_share(name: str, value: float) -> None:
    """Check that an argument is from 0 to 1.

    Raises:
        UsageError: it is not, or is no number.
    """
    if not 0 <= value <= 1:
        raise UsageError(f"{name} is {value}; expected 0 to 1")
