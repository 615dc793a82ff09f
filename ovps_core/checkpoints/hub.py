"""Models on the Hugging Face hub: fetched and converted on first use."""

from __future__ import annotations

import re
from pathlib import Path

from ovps_core.errors import CheckpointError

_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


def is_hub_name(name: str) -> bool:
    """Return whether ``name`` reads as a Hugging Face repository and is not a local file or folder."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not Path(name).exists()


def fetch(repository: str) -> Path:
    """Fetch a Hugging Face repository, or find it in the hub's cache; returns its folder.

    Raises:
        CheckpointError: there is no such repository, or no network.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(_FILES)))
    except Exception as error:  # the hub's client raises a dozen unrelated kinds
        raise CheckpointError(
            f"cannot fetch huggingface.co/{repository}: {str(error).splitlines()[0]}; it needs a "
            "network once, or its folder copied here and named as a path"
        ) from error


def fetch_and_convert(repository: str, destination: Path, *, name: str) -> Path:
    """Fetch a repository and convert its weights into ``destination``, unless that file is there.

    Args:
        repository: name of the repository, "CIDAS/clipseg-rd64".
        destination: file to write.
        name: name of the model in the header of the file.

    Raises:
        CheckpointError: see :func:`fetch`; or the weights are of an unknown model.
    """
    if not destination.is_file():
        from ovps_core.checkpoints.convert import convert  # imports the networks of all families

        convert(fetch(repository), destination, name=name)
    return destination
