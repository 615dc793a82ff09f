"""Reader of other projects' weights files: pickles, safetensors and Hugging Face directories."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ovps_core.checkpoints.convert.key_names import StateDict
from ovps_core.errors import CheckpointError

EXPECTED = (
    "expected a released PartCLIPSeg .pth, a Hugging Face CLIPSeg directory (config.json and weights), "
    "or an original CLIPSeg decoder .pth"
)
_RELEASED_PREFIX = "partclipseg_model."


@dataclass(frozen=True)
class ReleasedWeights:
    """Weights of another project, and what the user says about them.

    Attributes:
        state: tensors by the names of that project.
        config: Hugging Face configuration beside the weights, or empty.
        vocabulary: benchmark that the weights were trained on, or "".
        clip: open_clip's tag of CLIP weights, for files that lack them.
    """

    state: StateDict
    config: Mapping[str, Any]
    vocabulary: str
    clip: str


def read_state(source: Path) -> StateDict:
    """Read the tensors of a file or Hugging Face directory; optimiser state and anything else is left out.

    Pickled files go through PyTorch's restricted unpickler, which builds tensors and plain containers only.

    Raises:
        CheckpointError: the file is missing or damaged, or its pickle holds objects other than tensors.
    """
    path = _weights_file(source)
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    try:
        content = _unpickle(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read as weights ({reason}); the file is damaged, or holds Python "
            "objects that are not loaded for safety"
        ) from error
    while isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not a state dict; {EXPECTED}"
        )
    return {
        str(key).removeprefix(_RELEASED_PREFIX): torch.as_tensor(value)
        for key, value in content.items()
        if isinstance(value, Tensor) or hasattr(value, "__array__")
    }


def read_hugging_face_config(source: Path) -> dict[str, Any]:
    """Read the config.json beside the weights, with ``image_size`` of the processor; empty if there is none."""
    folder = source if source.is_dir() else source.parent
    if not (folder / "config.json").is_file():
        return {}
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    processor = folder / "preprocessor_config.json"
    if processor.is_file():
        size = json.loads(processor.read_text()).get("size", {})
        config["image_size"] = size.get("height", 352) if isinstance(size, dict) else size
    return config


def _unpickle(path: Path) -> Any:
    try:  # mapped, so that 219 MB of optimiser state are never read
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


def _weights_file(source: Path) -> Path:
    if source.is_file():
        return source
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (source / name).is_file():
            return source / name
    raise CheckpointError(f"no weights at {source}; {EXPECTED}")
