"""Table and JSON of ``ovps segment``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovps_core.models.confidence import Confidence
from ovps_core.pipeline.masks_json import masks_json, query_json
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.pipeline.postprocess.peaks import Peak
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery

Peaks = Mapping[PartQuery, Peak]
"""The most probable pixel for each query that found no part."""


def answer(
    name: str, masks: PartMasks, peaks: Peaks, confidence: Confidence | None
) -> dict[str, Any]:
    """The result for one picture, ready for JSON; docs/query.md describes it."""
    return {
        "image": name,
        **masks_json(masks),
        "not_found": [
            {
                "query": query_json(query),
                "best": {"probability": round(peak.probability, 4), "x": peak.x, "y": peak.y},
            }
            for query, peak in peaks.items()
        ],
        "confidence": confidence
        and {"mean": round(confidence.mean, 4), "usual": round(confidence.usual, 4)},
    }


def rows(masks: PartMasks, peaks: Peaks, options: SegmentOptions) -> list[dict[str, object]]:
    """Rows of the table, one per part and one per query without a part."""
    table: list[dict[str, object]] = []
    for query in masks.queries:
        head: dict[str, object] = {"query": query.text, "read as": _read_as(query)}
        for part in masks.of(query):
            box = " ".join(map(str, part.box.xywh))
            row = {"object": _object(part, masks), "score": part.score, "pixels": part.area}
            table.append({**head, **row, "box x y w h": box})
        if query in peaks:
            reason = f"not found ({_reason(peaks[query], options, len(masks.parts))})"
            row = {"object": "", "score": None, "pixels": 0}
            table.append({**head, **row, "box x y w h": reason})
    return table


def _object(part: PartMask, masks: PartMasks) -> str:
    """Name and id of the object that a part belongs to; empty without an object model."""
    names = {found.id: found.name for found in masks.objects}
    return f"{names.get(part.object_id, '')} {part.object_id}" if part.object_id else ""


def without_empty_columns(table: list[dict[str, object]]) -> list[dict[str, object]]:
    """The table without "read as" if every query was read as it is written, and "object" if there are none."""
    empty = [key for key in ("read as", "object") if not any(row[key] for row in table)]
    return [{key: cell for key, cell in row.items() if key not in empty} for row in table]


def _read_as(query: PartQuery) -> str:
    """The names that a query was read as; empty if they are those that it says."""
    names = str(query.read_as or "")
    if query.ignored:
        return f"{names} (ignored: {', '.join(query.ignored)})"
    written = " ".join(query.text.lower().split())
    parsed = (f"{query.object} {query.part}".strip(), f"{query.part} of the {query.object}")
    return (
        ""
        if names == parsed[0] and written in (*parsed, f"{query.part} of {query.object}")
        else names
    )


def _reason(peak: Peak, options: SegmentOptions, count: int) -> str:
    best = f"best {peak.probability:.2f} at ({peak.x}, {peak.y})"
    needed = max(options.score_threshold, options.mask_threshold)
    if peak.probability < needed:
        return f"{best}, below {needed:g}"
    reason = f"{best}, but no {options.min_area} pixels with a score of {options.score_threshold:g}"
    full = count >= options.max_parts
    return f"{reason}, or not among the best {options.max_parts} parts" if full else reason
