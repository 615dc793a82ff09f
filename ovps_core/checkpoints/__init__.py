"""Weights files: their format, the names of models, and conversion from other projects' files."""

from ovps_core.checkpoints.file import (
    CheckpointInfo,
    LoadedModel,
    ModelFile,
    load_model,
    read_info,
    save_model,
)
from ovps_core.checkpoints.model_folder import open_model
from ovps_core.checkpoints.registry import find_weights, known_models

__all__ = [
    "CheckpointInfo",
    "LoadedModel",
    "ModelFile",
    "find_weights",
    "known_models",
    "load_model",
    "open_model",
    "read_info",
    "save_model",
]
