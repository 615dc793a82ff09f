"""Units of work: a recording, or a few pictures of a folder. One unit is annotated by one process, whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ovps_core.errors import UsageError
from ovps_core.pipeline.preprocess import IMAGE_SUFFIXES

PICTURES_PER_UNIT = 64
_BAG_SUFFIXES = (".mcap", ".db3")
_METADATA = "metadata.yaml"  # of a rosbag2 folder


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Attributes:
        kind: a recording, or pictures.
        paths: the recording, or the pictures.
    """

    kind: Literal["bag", "pictures"]
    paths: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name of the unit's result; it changes if a file changes its name, size or time."""
        facts = [(path, *_stamp(Path(path))) for path in self.paths]
        return hashlib.sha256(json.dumps([self.kind, facts]).encode()).hexdigest()[:24]


def find_units(sources: Sequence[Path]) -> list[Unit]:
    """All work in files and folders, which are searched with their subfolders.

    Raises:
        UsageError: a source does not exist, or holds neither pictures nor recordings.
    """
    units: list[Unit] = []
    for source in sources:
        if not source.exists():
            raise UsageError(
                f"{source} does not exist; expected pictures, recordings, or folders of them"
            )
        found = list(_units(source.absolute()))
        if not found:
            raise UsageError(
                f"{source} holds neither pictures ({', '.join(IMAGE_SUFFIXES)}) nor recordings "
                f"({', '.join(_BAG_SUFFIXES)})"
            )
        units += found
    return list(dict.fromkeys(units))


def _units(source: Path) -> Iterator[Unit]:
    if source.is_file():
        if source.suffix.lower() in _BAG_SUFFIXES:
            yield Unit("bag", (str(source),))
        elif source.suffix.lower() in IMAGE_SUFFIXES:
            yield Unit("pictures", (str(source),))
        return
    if (source / _METADATA).is_file():
        yield Unit("bag", (str(source),))
        return
    entries = sorted(source.iterdir())
    pictures = [str(p) for p in entries if p.is_file() and p.suffix.lower() in IMAGE_SUFFIXES]
    for first in range(0, len(pictures), PICTURES_PER_UNIT):
        yield Unit("pictures", tuple(pictures[first : first + PICTURES_PER_UNIT]))
    for entry in entries:
        if entry.is_dir() or entry.suffix.lower() in _BAG_SUFFIXES:
            yield from _units(entry)


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file, or of the files of a folder together."""
    files = [p for p in path.iterdir() if p.is_file()] if path.is_dir() else [path]
    facts = [file.stat() for file in files]
    return sum(f.st_size for f in facts), max((f.st_mtime_ns for f in facts), default=0)
