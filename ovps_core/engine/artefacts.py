"""Built engines on disk: found again by a digest of all they depend on, checked before they are trusted."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from ovps_core import __file__ as _package
from ovps_core.cache import cache_folder
from ovps_core.checkpoints.file import sha256
from ovps_core.models.base import PartModel

_MANIFEST = "manifest.json"
log = logging.getLogger(__name__)


def engines_folder() -> Path:
    """Where built engines are kept; deleting it costs the time to build them again."""
    return cache_folder() / "engines"


def cached(kind: str, key: Mapping[str, str], build: Callable[[Path], None]) -> Path:
    """A folder of files that ``build`` makes for ``key``, built now or before.

    A folder is taken only whole: its manifest must hold the same key and the sha256 of each file; a truncated,
    changed or foreign one is built anew. Building happens beside and is moved into place in one step, so that a
    build that is stopped leaves nothing that looks finished.

    Args:
        kind: begins the folder's name.
        key: everything that the result depends on.
        build: writes its files into the empty folder it is given.
    """
    digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
    folder = engines_folder() / f"{kind}-{digest[:24]}"
    if is_intact(folder, key):
        return folder
    if folder.exists():
        log.warning("%s is damaged or out of date; building it again", folder)
    engines_folder().mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=engines_folder()))
    try:
        build(unfinished)
        files = {path.name: sha256(path) for path in sorted(unfinished.iterdir())}
        (unfinished / _MANIFEST).write_text(json.dumps({"key": dict(key), "files": files}, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(unfinished, folder)
    except OSError:
        if not is_intact(folder, key):  # else another process was faster
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def is_intact(folder: Path, key: Mapping[str, str]) -> bool:
    """Whether ``folder`` holds exactly what was built for ``key``."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        if manifest["key"] != dict(key):
            return False
        return all(sha256(folder / name) == digest for name, digest in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def model_key(model: PartModel) -> dict[str, str]:
    """What a graph of ``model`` depends on: weights, configuration, the code that describes it."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith("text."):  # words reach a graph as numbers
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return {
        "model": type(model).__name__,
        "weights": digest.hexdigest(),
        "config": repr(getattr(model, "config", "")),
        "preprocessing": repr(model.preprocessing),
        "code": _code_digest(),
    }


@functools.cache
def _code_digest() -> str:
    root = Path(_package).parent
    digest = hashlib.sha256(torch.__version__.encode())
    for path in sorted([*(root / "models").glob("*.py"), root / "engine/export.py", root / "engine/half.py"]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
