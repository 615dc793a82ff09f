"""Models on the Hugging Face hub: fetched on first use, and converted unless transformers runs them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from pathlib import Path

from ovps_core.errors import CheckpointError
from ovps_core.models.prompted.networks import NETWORKS
from ovps_core.structures.cache_folder import cache_folder
from ovps_core.structures.requirements import require_packages

_FILES = ["*.json", "*.txt", "model*.safetensors"]  # configuration, tokeniser, weights
_SHARDS = "model.safetensors.index.json"


def is_hub_name(name: str) -> bool:
    """Return whether ``name`` reads as a Hugging Face repository and is not a local file or folder."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not Path(name).exists()


def cached_folder(repository: str) -> Path | None:
    """Folder of a repository in the hub's cache on this machine; None unless all its weights are there.

    None also without the package ``huggingface_hub``, which comes with the extra ``torch``.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                repository, cache_dir=_cache(), allow_patterns=_FILES, local_files_only=True
            )
        )
    except LocalEntryNotFoundError:
        return None
    return folder if (folder / "config.json").is_file() and _has_weights(folder) else None


def _cache() -> str:
    """Folder of the hub's cache; in ours if there is no home folder to expand its name."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return str(cache_folder() / "hub") if HF_HUB_CACHE.startswith("~") else HF_HUB_CACHE


def _has_weights(folder: Path) -> bool:
    try:
        shards = set(json.loads((folder / _SHARDS).read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        shards = {"model.safetensors"}
    return all((folder / name).is_file() for name in shards)


def fetch(repository: str) -> Path:
    """Find a Hugging Face repository in the hub's cache, or fetch it; returns its folder.

    What is in the cache is not compared with the hub, so a robot does not change its model by itself.

    Raises:
        CheckpointError: there is no such repository, access to it must be granted first, or there is no network.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    if folder := cached_folder(repository):
        return folder
    try:
        return Path(snapshot_download(repository, cache_dir=_cache(), allow_patterns=_FILES))
    except GatedRepoError as error:
        raise CheckpointError(
            f"huggingface.co/{repository} is gated: ask for access on that page with your account, then log in "
            "here with `hf auth login`, or set HF_TOKEN to your token"
        ) from error
    except Exception as error:  # the hub's client raises a dozen unrelated kinds
        raise CheckpointError(
            f"cannot fetch huggingface.co/{repository}: {str(error).splitlines()[0]}; it needs a "
            "network once, or its folder copied here and named as a path: --model FOLDER"
        ) from error


def convert_folder(folder: Path, models: Path) -> Path:
    """Convert a copied repository into the folder ``models``, unless that was done before; returns the file.

    The folder of a training run, which has a weights file of ours, is not converted. A folder whose model runs in
    transformers is returned itself.

    Raises:
        CheckpointError: the folder has no weights, or they are damaged or of an unknown model.
    """
    from ovps_core.checkpoints.file import has_our_header

    if has_our_header(folder / "model.safetensors"):
        return folder / "model.safetensors"
    if runs_in_transformers(folder):
        return folder
    folder = folder.resolve()
    stamps = [
        f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}"
        for file in sorted(folder.iterdir())
        if file.is_file()
    ]
    key = hashlib.sha256("\n".join([str(folder), *stamps]).encode()).hexdigest()[:12]
    destination = models / f"{folder.name}--{key}.safetensors"
    if not destination.is_file():
        require_packages("torch", extra="torch")
        from ovps_core.checkpoints.convert import convert

        convert(folder, destination, name=folder.name)
    return destination


def fetch_and_convert(repository: str, destination: Path, *, name: str) -> Path:
    """Fetch a repository and convert its weights into ``destination``, unless that file is there.

    Args:
        repository: name of the repository, "CIDAS/clipseg-rd64".
        destination: file to write.
        name: name of the model in the header of the file.

    Returns:
        ``destination``; the repository's folder in the hub's cache if its model runs in transformers.

    Raises:
        CheckpointError: see :func:`fetch`; or the weights are of an unknown model.
    """
    if not destination.is_file():
        require_packages("torch", "huggingface_hub", extra="torch")
        folder = fetch(repository)
        if runs_in_transformers(folder):
            return folder
        from ovps_core.checkpoints.convert import convert  # imports the networks of all families

        convert(folder, destination, name=name)
    return destination


def runs_in_transformers(folder: Path) -> bool:
    """Return whether the model in ``folder`` is one of :data:`ovps_core.models.prompted.networks.NETWORKS`."""
    return model_type(folder) in NETWORKS


def model_type(folder: Path) -> str:
    """The name of the family in the config.json of a folder; "" if it has none that can be read."""
    try:
        return str(json.loads((folder / "config.json").read_bytes()).get("model_type", ""))
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""
