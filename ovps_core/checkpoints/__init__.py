"""Weights: reading other projects' files, converting them, and the one file format of our own."""

from ovps_core.checkpoints.convert.convert_file import convert
from ovps_core.checkpoints.file import (
    CheckpointInfo,
    LoadedModel,
    load_model,
    read_info,
    save_model,
)
from ovps_core.checkpoints.registry import find_weights, known_models

__all__ = [
    "CheckpointInfo",
    "LoadedModel",
    "convert",
    "find_weights",
    "known_models",
    "load_model",
    "read_info",
    "save_model",
]
