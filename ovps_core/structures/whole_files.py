"""Files that are written all or nothing: first beside their place, then renamed."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ovps_core.errors import OutputError


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it becomes ``path`` at the end of the block.

    If the block fails, nothing is left and an older ``path`` stays as it was. The folder is created.

    Raises:
        OutputError: the file cannot be written: full disk, no permission, a folder of that name.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
    """Yield a folder's future path, in a temporary folder beside ``path``; it becomes ``path`` at the end.

    The yielded path has the name of ``path`` and does not exist yet. If the block fails, nothing is left.

    Raises:
        OutputError: see :func:`unfinished`.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # A killed process leaves its folder, and in a container the next one has the same id.
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        yield beside / path.name
        os.replace(beside / path.name, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file, text in UTF-8, all or nothing.

    Raises:
        OutputError: see :func:`unfinished`.
    """
    with unfinished(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON with a newline at the end, all or nothing.

    Raises:
        OutputError: see :func:`unfinished`.
    """
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def without_nan(value: Any) -> Any:
    """Copy nested lists and dicts with None for NaN and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
