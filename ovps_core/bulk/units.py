"""Units of work: a recording, or a few pictures of a folder. One unit is annotated by one process, whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ovps_core.errors import UsageError
from ovps_core.pipeline.preprocess import IMAGE_SUFFIXES

PICTURES_PER_UNIT = 64
FRAMES = "frames"
"""Folder of the frames of recordings in the data set, with a folder for each unit."""
_KEY_LENGTH = 24
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
        return hashlib.sha256(json.dumps([self.kind, facts]).encode()).hexdigest()[:_KEY_LENGTH]


def find_units(sources: Sequence[Path], out: Path | None = None) -> list[Unit]:
    """All work in files and folders, which are searched with their subfolders; each path once.

    Args:
        sources: files and folders.
        out: the data set that is written. It is not searched, nor are frames that it has of recordings.

    Raises:
        UsageError: a source does not exist, or holds neither pictures nor recordings.
    """
    units: list[Unit] = []
    seen: set[str] = set()
    for source in sources:
        if not source.exists():
            raise UsageError(
                f"{source} does not exist; expected pictures, recordings, or folders of them"
            )
        found = list(_units(Path(os.path.abspath(source)), out and out.resolve()))
        if not found:
            raise UsageError(
                f"{source} holds neither pictures ({', '.join(IMAGE_SUFFIXES)}) nor recordings "
                f"({', '.join(_BAG_SUFFIXES)})"
            )
        for unit in found:
            new = tuple(path for path in unit.paths if not _is_seen(path, seen))
            seen.update(new)
            if new:
                units.append(Unit(unit.kind, new))
    return units


def _is_seen(path: str, seen: Container[str]) -> bool:
    """Return whether a path is among those seen, or is the file of a recording whose folder is."""
    is_bag = Path(path).suffix.lower() in _BAG_SUFFIXES
    return path in seen or (is_bag and os.path.dirname(path) in seen)


def _is_output(folder: Path, out: Path) -> bool:
    """Return whether a folder is the data set, or the frames of a recording in it."""
    folder = folder.resolve()
    return folder == out or (folder.parent == out / FRAMES and len(folder.name) == _KEY_LENGTH)


def _units(source: Path, out: Path | None) -> Iterator[Unit]:
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
        if out is not None and entry.is_dir() and _is_output(entry, out):
            continue
        if entry.is_dir() or entry.suffix.lower() in _BAG_SUFFIXES:
            yield from _units(entry, out)


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file, or of the files of a folder together."""
    files = [p for p in path.iterdir() if p.is_file()] if path.is_dir() else [path]
    facts = [file.stat() for file in files]
    return sum(f.st_size for f in facts), max((f.st_mtime_ns for f in facts), default=0)
