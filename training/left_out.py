"""Damaged pictures and shards that a training run leaves out instead of ending after hours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from ovps_core.errors import DatasetError, ImageError

LEFT_OUT = "left_out.txt"
"""File in a run's folder with a line for each damaged picture or shard."""

_NAMED = 20  # on stderr
_TRIES = 20  # pictures in place of one

S = TypeVar("S")


class LeftOut:
    """Damaged pictures, samples and shards; each is counted and named on stderr once, however often it is met.

    Args:
        file: has a line for each, with which the workers and processes of a run know what the others met; without
            it each process counts on its own.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._names: set[str] = set()

    def keep_in(self, file: Path, *, resume: bool) -> None:
        """Share a file from now on; without ``resume`` it starts empty."""
        if not resume:
            file.unlink(missing_ok=True)
        self.file = file

    def add(self, name: str, reason: object = "") -> None:
        """Count a damaged picture or shard under its name, and say why it is left out."""
        name = _one_line(name)
        if name in self._names or name in self.names():
            return
        number = len(self._names)
        self._names.add(name)
        line = f"{name}\t{_one_line(str(reason))}".rstrip()
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(f"{line}\n")
        if number < _NAMED:
            print(f"left out: {line.replace(chr(9), ': ')}", file=sys.stderr)
        elif number == _NAMED:
            where = f"; they are in {self.file}" if self.file else ""
            print(f"left out: more than {_NAMED}, the others are not named{where}", file=sys.stderr)

    def names(self) -> frozenset[str]:
        """Names of all that was left out so far, by any process that shares the file."""
        if self.file is not None and self.file.is_file():
            lines = self.file.read_text("utf-8", errors="replace").split("\n")
            self._names |= {line.split("\t")[0] for line in lines if line}
        return frozenset(self._names)


def _one_line(text: str) -> str:
    return " ".join(text.split()).encode("utf-8", "replace").decode()


def read_or_replace(
    read: Callable[[int], S],
    index: int,
    count: int,
    left_out: LeftOut,
    is_usable: Callable[[S], bool],
) -> S:
    """Read a picture to train on; a random other one replaces it if it is damaged or of no use.

    PyTorch's generator draws the other one, so the sample's seed decides it. After 20 further ones of no use the
    last is taken.

    Args:
        read: reads the picture of an index.
        index: of the picture.
        count: number of pictures.
        left_out: counts the damaged ones.
        is_usable: tells whether there is something to learn from.

    Raises:
        ImageError, DatasetError: so many in a row are damaged.
    """
    found: list[S] = []
    for attempt in range(1 + _TRIES):
        if attempt:
            index = int(torch.randint(count, ()))
        try:
            found = [read(index)]
        except (ImageError, DatasetError) as error:
            left_out.add(str(error))
            if attempt == _TRIES and not found:
                raise
            continue
        if is_usable(found[0]):
            break
    return found[0]
