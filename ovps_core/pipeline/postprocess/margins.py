"""Margins: how much better an answer is than the next best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ovps_core.structures.masks import PartMask, shared_pixels
from ovps_core.structures.query import PartQuery


def with_margins(
    parts: Sequence[PartMask], left_out: Mapping[PartQuery, float]
) -> tuple[PartMask, ...]:
    """Fill in the margin of parts: the score minus that of the next best answer.

    The next best answer is another phrase for the same pixels, whose score counts by the share of the part that it
    covers, or another place for the same phrase that ``max_parts`` left out. A phrase that may mean the same
    pixels ("mug" and "mug handle") is no rival.

    Args:
        parts: the parts of one image.
        left_out: score of the best part that was left out, for queries that had too many.
    """
    corners = np.array([part.box.corners for part in parts]).reshape(-1, 4)
    margins = []
    for part in parts:
        x1, y1, x2, y2 = part.box.corners
        overlaps = np.all((corners[:, :2] < (x2, y2)) & (corners[:, 2:] > (x1, y1)), axis=1)
        # few of the hundreds in a noisy map
        near = [parts[int(index)] for index in np.flatnonzero(overlaps)]
        margins.append(part.score - _next_best(part, near, left_out))
    return tuple(replace(part, margin=m) for part, m in zip(parts, margins, strict=True))


def _next_best(
    part: PartMask, parts: Sequence[PartMask], left_out: Mapping[PartQuery, float]
) -> float:
    scores = [
        other.score * _share_covered(part, other)
        for other in parts
        if are_rivals(part.query, other.query)
    ]
    return max([*scores, left_out.get(part.query, 0.0)])


def are_rivals(one: PartQuery, other: PartQuery) -> bool:
    """Return True if no pixel answers both queries: their objects differ, or their parts do.

    >>> are_rivals(PartQuery("mug rim", "mug", "rim"), PartQuery("mug", "mug"))
    False
    """
    return any(
        a and b and not set(a.split(", ")) & set(b.split(", "))
        for a, b in zip(_names(one), _names(other), strict=True)
    )


def _names(query: PartQuery) -> tuple[str, str]:
    names = query.read_as or query
    return names.object, names.part


def _share_covered(part: PartMask, other: PartMask) -> float:
    """Share of the pixels of ``part`` that ``other`` has too, 0..1."""
    return shared_pixels(part, other) / max(part.area, 1)
