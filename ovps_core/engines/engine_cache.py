"""Cache of built engines on disk, keyed by everything they depend on and verified before use."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovps_core.checkpoints.file import ModelFile, sha256
from ovps_core.errors import BackendError
from ovps_core.structures.cache_folder import cache_folder

if TYPE_CHECKING:
    from ovps_core.models.network import PartModel

GRAPH_VERSION = 6
"""Part of every engine's cache key. Raise it when the same weights give another graph than before: when
the forward pass of a network or the exporter changes. A test compares recorded digests of the exported graphs."""
_MANIFEST = "manifest.json"
_UNFINISHED = ".unfinished"  # suffix of folders in which a build is at work
_LOCK = ".lock"  # suffix of files that are locked by who builds
_ABANDONED_AFTER = 24 * 3600  # seconds without a written file; no build is silent for so long
_LOCKED_WITHIN = 60  # seconds in which a new build has locked its folder
_PAUSE = 0.5  # seconds between looks at the build of another process
_FULL = 1_000_000  # bytes left on a disk on which a build failed for want of space
_ADVICE = "name another folder in OVPS_CACHE (for the node: parameter engine_cache), or use the backend torch"
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
        leaves nothing that looks finished. Temporary folders and lock files of killed builds are removed at the
        next build of any engine.

        Processes that need the same files take turns, so that one builds and the others find its folder. Where the
        file system has no locks all of them build, and the folder of the first one stays.

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
        with _turn(self.folder / f"{folder.name}{_LOCK}", self.progress):
            if not is_intact(folder, key):  # else another process has built it meanwhile
                self._build(folder, key, build)
        return folder

    def _build(self, folder: Path, key: Mapping[str, str], build: Callable[[Path], None]) -> None:
        if folder.exists():
            log.warning("%s is damaged or out of date; building it again", folder)
        unfinished = self._make_folder(folder.name)
        try:
            with _locked(unfinished), _explaining(folder, self.folder):
                build(unfinished)
                write_manifest(unfinished, key)
                if is_intact(folder, key):  # built by another process, which may be loading it now
                    return
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(unfinished, folder)
        except BackendError:
            if not is_intact(folder, key):  # else another process was faster
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _make_folder(self, name: str) -> Path:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_abandoned()
            return Path(tempfile.mkdtemp(prefix=f"{name}.", suffix=_UNFINISHED, dir=self.folder))
        except OSError as error:
            raise BackendError(
                f"built engines cannot be kept in {self.folder} ({error.strerror}); {_ADVICE}"
            ) from error

    def _remove_abandoned(self) -> None:
        """Remove the temporary folders and the lock files of builds that were killed."""
        for folder in self.folder.glob(f"*{_UNFINISHED}"):
            with contextlib.suppress(OSError):  # another process renamed it meanwhile
                age = time.time() - folder.stat().st_mtime
                if age > _ABANDONED_AFTER or (age > _LOCKED_WITHIN and not _is_locked(folder)):
                    shutil.rmtree(folder)
        for path in self.folder.glob(f"*{_LOCK}"):
            _remove_lock(path)


@contextlib.contextmanager
def _turn(path: Path, progress: Progress) -> Iterator[None]:
    """Run the block in one process at a time; the file ``path`` is locked meanwhile, and then removed."""
    handle = _wait_for_lock(path, progress)
    try:
        yield
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(handle)


def _wait_for_lock(path: Path, progress: Progress) -> int | None:
    """Handle of the locked file, or of one that cannot be locked here; None if it cannot be written."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None  # the build says why
        is_held = False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except BlockingIOError:
            is_held = True
        except FileNotFoundError:
            pass  # the process before has removed it
        except OSError:
            return handle  # some network file systems have no locks
        os.close(handle)
        if is_held:
            progress("another process builds this engine; waiting for it")
            time.sleep(_PAUSE)


def _remove_lock(path: Path) -> None:
    """Remove a lock file that nobody holds; who opens it meanwhile sees that it is gone, and makes another."""
    with contextlib.suppress(OSError):  # it is held or gone, or locks cannot be asked for here
        handle = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                path.unlink()
        finally:
            os.close(handle)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder until the block ends or the process dies, however it dies."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _is_locked(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True  # by its builder, or locks cannot be asked for here: then age decides
    finally:
        os.close(handle)
    return False


@contextlib.contextmanager
def _explaining(engine: Path, root: Path) -> Iterator[None]:
    """Turn the failure of a build for want of disk into a BackendError; other failures pass.

    Exporters report a full disk by errors of many kinds, so the free space is looked at.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise BackendError(f"{engine} could not be built: {reason}; {_ADVICE}") from error
    except Exception as error:
        free = shutil.disk_usage(root).free
        if free > _FULL:
            raise
        raise BackendError(
            f"{engine} could not be built: the disk is full ({free / 1e6:.1f} MB left); {_ADVICE}"
        ) from error


DEFAULT_CACHE = EngineCache()


def write_manifest(folder: Path, key: Mapping[str, str]) -> None:
    """Record what the files of ``folder`` were built for, and their digests; see :func:`is_intact`."""
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    (folder / _MANIFEST).write_text(json.dumps({"key": dict(key), "files": files}, indent=1) + "\n")


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
    :data:`GRAPH_VERSION`. A network and the file that it was loaded from have one key.
    """
    import torch

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
