"""Units of work: a recording, or a few pictures of a folder. One unit is annotated by one process, whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
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
Kind = Literal["bag", "pictures"]
_Found = tuple[Kind, tuple[str, ...]]


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Attributes:
        kind: a recording, or pictures.
        paths: the recording, or the pictures.
        key: name of the unit's result; another one if a file had another name, size or time when it was found.
    """

    kind: Kind
    paths: tuple[str, ...]
    key: str


def find_units(sources: Sequence[Path], out: Path | None = None) -> list[Unit]:
    """All work in files and folders, which are searched with their subfolders and links; each file once.

    Args:
        sources: files and folders.
        out: the data set that is written. It is not searched, nor are frames that it has of recordings.

    Raises:
        UsageError: a source does not exist, or holds neither pictures nor recordings.
    """
    found: list[_Found] = []
    for source in sources:
        if not source.exists():
            raise UsageError(
                f"{source} does not exist; expected pictures, recordings, or folders of them"
            )
        inside = list(_search(Path(os.path.abspath(source)), out and out.resolve()))
        if not inside:
            raise UsageError(
                f"{source} holds neither pictures ({', '.join(IMAGE_SUFFIXES)}) nor recordings "
                f"({', '.join(_BAG_SUFFIXES)})"
            )
        found += inside
    units: list[Unit] = []
    seen: set[str] = set()
    for kind, paths in found:
        new = tuple(path for path in paths if _is_new(path, seen))
        if new:
            units.append(Unit(kind, new, _key(kind, new)))
    return units


def _is_new(path: str, seen: set[str]) -> bool:
    """Note a file; return whether it is none of those seen, nor the file of a recording whose folder is."""
    real = os.path.realpath(path)
    is_bag = Path(real).suffix.lower() in _BAG_SUFFIXES
    is_seen = real in seen or (is_bag and os.path.dirname(real) in seen)
    seen.add(real)
    return not is_seen


def _key(kind: Kind, paths: tuple[str, ...]) -> str:
    facts = [(path, *_stamp(Path(path))) for path in paths]
    return hashlib.sha256(json.dumps([kind, facts]).encode()).hexdigest()[:_KEY_LENGTH]


def _search(source: Path, out: Path | None) -> Iterator[_Found]:
    """Files of a source. Links to folders come last, so that files have the paths that stay."""
    links, entered = [source], set[str]()
    for link in links:  # grows meanwhile
        yield from _files(link, out, links, entered)


def _is_output(folder: Path, out: Path) -> bool:
    """Return whether a folder is the data set, or the frames of a recording in it."""
    folder = folder.resolve()
    return folder == out or (folder.parent == out / FRAMES and len(folder.name) == _KEY_LENGTH)


def _files(
    source: Path, out: Path | None, links: list[Path], entered: set[str]
) -> Iterator[_Found]:
    """Files of a source without those behind links to folders, which are added to ``links``."""
    if source.is_file():
        if source.suffix.lower() in _BAG_SUFFIXES:
            yield "bag", (str(source),)
        elif source.suffix.lower() in IMAGE_SUFFIXES:
            yield "pictures", (str(source),)
        return
    real = os.path.realpath(source)
    if real in entered:
        return
    entered.add(real)
    if (source / _METADATA).is_file():
        yield "bag", (str(source),)
        return
    entries = sorted(source.iterdir())
    pictures = [str(p) for p in entries if p.is_file() and p.suffix.lower() in IMAGE_SUFFIXES]
    for first in range(0, len(pictures), PICTURES_PER_UNIT):
        yield "pictures", tuple(pictures[first : first + PICTURES_PER_UNIT])
    for entry in entries:
        if out is not None and entry.is_dir() and _is_output(entry, out):
            continue
        if entry.is_symlink() and entry.is_dir():
            links.append(entry)
        elif entry.is_dir() or entry.suffix.lower() in _BAG_SUFFIXES:
            yield from _files(entry, out, links, entered)


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file, or of the files of a folder together."""
    try:
        files = [p for p in path.iterdir() if p.is_file()] if path.is_dir() else [path]
        facts = [file.stat() for file in files]
    except FileNotFoundError:  # deleted since it was found; its reader says so
        return 0, 0
    return sum(f.st_size for f in facts), max((f.st_mtime_ns for f in facts), default=0)
