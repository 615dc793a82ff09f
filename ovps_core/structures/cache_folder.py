"""Folder of cached files, which can be deleted at any time: text embeddings and built engines."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder: ``$OVPS_CACHE`` if it is set, else ``~/.cache/ovps``."""
    return Path(os.environ.get("OVPS_CACHE") or Path.home() / ".cache" / "ovps")
