"""Folder of cached files, which can be deleted at any time: text embeddings and built engines."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder: ``$OVPS_CACHE`` if it is set, else ``~/.cache/ovps``.

    Without a home folder that can be written, it is a temporary folder; the log says so once.
    """
    named = os.environ.get("OVPS_CACHE")
    if named:
        return expand_home(named)
    home = home_folder()
    folder = home / ".cache" / "ovps" if home else None
    if folder is not None and _can_be_written(folder):
        return folder
    return _temporary_folder(f"{folder} cannot be written" if folder else "there is no home folder")


def home_folder() -> Path | None:
    """The user's home folder; None if the user is unknown to the system and $HOME is not set."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def expand_home(path: str | Path) -> Path:
    """``path`` with the home folder for "~"; as it is if there is no such folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _can_be_written(folder: Path) -> bool:
    # os.path, since pathlib raises for paths below folders that this user may not look into
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)


@functools.cache
def _temporary_folder(reason: str) -> Path:
    """A folder of this user alone, the same for all processes if possible; logs the reason."""
    folder = Path(tempfile.gettempdir()) / f"ovps-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
        folder = Path(tempfile.mkdtemp(prefix="ovps-"))  # somebody else has that name
    log.warning(
        "%s: engines and models are kept in %s; set OVPS_CACHE to a folder to keep them elsewhere",
        reason,
        folder,
    )
    return folder
