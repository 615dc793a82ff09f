"""Models in folders of the Hugging Face hub that transformers runs, opened as our own weights files are."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ovps_core.checkpoints.file import CheckpointInfo, LoadedModel, ModelFile, sha256
from ovps_core.checkpoints.hub import model_type
from ovps_core.checkpoints.registry import find_weights, known_models
from ovps_core.checkpoints.stand_ins import refuse_stand_in
from ovps_core.models.interface import ModelSpec, QueryEncoder
from ovps_core.models.prompted.config import PromptedConfig
from ovps_core.structures.cache_folder import expand_home

if TYPE_CHECKING:
    from torch import Tensor

_READ = (".json", ".txt", ".safetensors")  # suffixes of the files that a model is made of


class ModelFolder(ModelFile):
    """A folder with a model that transformers runs. The network is built on first use.

    Args:
        folder: the folder, as on the hub.
        name: name of the model, for answers and messages.
        licence: licence of the weights.

    Raises:
        CheckpointError: a weights file is something else.
    """

    def __init__(self, folder: Path, name: str, licence: str = "unknown") -> None:
        self.path = folder
        kind = model_type(folder)
        self.info = CheckpointInfo(
            name, kind, PromptedConfig(kind), licence, str(folder), folder_digest(folder)
        )

    @cached_property
    def loaded(self) -> LoadedModel:
        """The network and its query encoder on the CPU, for inference.

        Raises:
            MissingDependencyError, CheckpointError: see
                :func:`ovps_core.checkpoints.transformers_folder.load_prompted`.
        """
        from ovps_core.checkpoints.transformers_folder import load_prompted  # needs PyTorch

        return LoadedModel(*load_prompted(self.path, self.info.config), self.info)

    @cached_property
    def _description(self) -> tuple[ModelSpec, QueryEncoder]:
        return self.loaded.spec, self.loaded.query_encoder

    def _state(self) -> dict[str, Tensor]:
        return dict(self.loaded.model.state_dict())


def folder_digest(folder: Path) -> str:
    """SHA-256 digest, hexadecimal, of the names and contents of all files that a model is made of.

    Raises:
        CheckpointError: a weights file is something else, such as a pointer of git-lfs.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in _READ):
        if path.suffix == ".safetensors":
            refuse_stand_in(path)
        digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()


def open_model(name: str | Path) -> ModelFile:
    """Open a model by its name, file, folder or hub repository; fetched on first use.

    Raises:
        CheckpointError: see :func:`ovps_core.checkpoints.registry.find_weights` and
            :func:`ovps_core.checkpoints.file.read_info`.
        MissingDependencyError: the model needs a package that is not installed.
    """
    path = find_weights(name)
    if not path.is_dir():
        return ModelFile(path)
    known = next((model for model in known_models() if model.name == str(name)), None)
    if known is not None:
        return ModelFolder(path, known.name, known.licence)
    return ModelFolder(path, path.name if expand_home(name).is_dir() else str(name))
