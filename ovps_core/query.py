"""Words into queries: "the mug's rim" is the part "rim" of the object "mug"."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PartQuery:
    """One thing to look for: a part, most often of an object.

    Attributes:
        text: what the user said, trimmed.
        object: "knife"; empty for a part of any object.
        part: "handle"; empty for the whole object.
        threshold: least score to report, 0..1; 0 takes the segmenter's.
        max_parts: best n only; 0 for all.
    """

    text: str
    object: str = ""
    part: str = ""
    threshold: float = 0.0
    max_parts: int = 0
