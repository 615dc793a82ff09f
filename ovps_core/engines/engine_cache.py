"""Cache of built engines on disk, keyed by everything they depend on and verified before use."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ovps_core.checkpoints.file import ModelFile, sha256
from ovps_core.engines.subgraphs import GRAPH_VERSION
from ovps_core.errors import BackendError
from ovps_core.models.interface import PartModel
from ovps_core.structures.cache_folder import cache_folder

_MANIFEST = "manifest.json"
_UNFINISHED = ".unfinished"  # suffix of folders in which a build is at work
_ABANDONED_AFTER = (
    24 * 3600
)  # seconds since the last file was written; no build is silent for so long
log = logging.getLogger(__name__)


Progress = Callable[[str], None]
"""Called with the current step of a build, in words."""


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class EngineCache:
    """Folder of built engines, and the listener that follows a build.

    Attributes:
        root: the folder; None for ``engines`` in the cache folder. If it is deleted, engines are built again.
        progress: called with each step of a build; not called for engines that are found ready.
    """

    root: Path | None = None
    progress: Progress = _silent

    @property
    def folder(self) -> Path:
        """Folder of all engines."""
        return self.root or cache_folder() / "engines"

    def get_or_build(
        self, kind: str, key: Mapping[str, str], build: Callable[[Path], None]
    ) -> Path:
        """Folder of the files that ``build`` writes for ``key``, from an earlier call or built now.

        A folder is used only if its manifest holds the same key and the sha256 of each file; otherwise it is built
        again. The build runs in a temporary folder, which is renamed in one step. An interrupted build therefore
        leaves nothing that looks finished. Temporary folders of killed builds are removed after a day.

        Args:
            kind: first part of the folder's name.
            key: everything that the result depends on.
            build: writes its files into the empty folder that it is given.

        Raises:
            BackendError: the cache's folder cannot be written.
        """
        digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
        folder = self.folder / f"{kind}-{digest[:24]}"
        if is_intact(folder, key):
            return folder
        if folder.exists():
            log.warning("%s is damaged or out of date; building it again", folder)
        unfinished = self._make_folder(folder.name)
        try:
            build(unfinished)
            files = {path.name: sha256(path) for path in sorted(unfinished.iterdir())}
            (unfinished / _MANIFEST).write_text(
                json.dumps({"key": dict(key), "files": files}, indent=1)
            )
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(unfinished, folder)
        except OSError as error:
            if not is_intact(folder, key):  # else another process was faster
                raise BackendError(f"{folder} could not be built: {error}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return folder

    def _make_folder(self, name: str) -> Path:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_abandoned()
            return Path(tempfile.mkdtemp(prefix=f"{name}.", suffix=_UNFINISHED, dir=self.folder))
        except OSError as error:
            raise BackendError(
                f"built engines cannot be kept in {self.folder} ({error.strerror}); "
                "name a folder that can be written"
            ) from error

    def _remove_abandoned(self) -> None:
        """Remove the temporary folders of builds that were killed."""
        oldest = time.time() - _ABANDONED_AFTER
        for folder in self.folder.glob(f"*{_UNFINISHED}"):
            with contextlib.suppress(OSError):  # another process renamed it meanwhile
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder)


DEFAULT_CACHE = EngineCache()


def is_intact(folder: Path, key: Mapping[str, str]) -> bool:
    """Return whether ``folder`` holds, unchanged, what was built for ``key``."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        if manifest["key"] != dict(key):
            return False
        return all(sha256(folder / name) == digest for name, digest in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def model_key(model: PartModel | ModelFile) -> dict[str, str]:
    """Identity of the graphs exported from ``model``, as part of a cache key.

    Weights and configuration are hashed as data; no source code is read. The version of the code is
    :data:`ovps_core.engines.subgraphs.GRAPH_VERSION`. A network and the file that it was loaded from have one key.
    """
    state: Mapping[str, Any]
    if isinstance(model, ModelFile):
        state, config = model.network_state(), model.info.config
    else:
        state, config = model.state_dict(), model.config
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return {
        "model": type(config).__name__,
        "weights": digest.hexdigest(),
        "config": json.dumps(asdict(config), sort_keys=True),
        "preprocessing": json.dumps(asdict(model.spec.preprocessing), sort_keys=True),
        "graph": str(GRAPH_VERSION),
        "torch": torch.__version__,
        "timm": version("timm"),
    }


def graph_key(model: PartModel | ModelFile, size: tuple[int, int]) -> dict[str, str]:
    """Cache key of the graphs of ``model`` for pixels of (height, width)."""
    return model_key(model) | {"size": f"{size[0]}x{size[1]}"}
