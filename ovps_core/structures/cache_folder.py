"""Where this machine keeps what can be made again: text embeddings and built engines."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$OVPS_CACHE``, else ``~/.cache/ovps``."""
    return Path(os.environ.get("OVPS_CACHE") or Path.home() / ".cache" / "ovps")
