"""Reader of other projects' weights files: pickles, safetensors and Hugging Face directories."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ovps_core.checkpoints.convert.key_names import StateDict
from ovps_core.checkpoints.stand_ins import refuse_shards, refuse_stand_in
from ovps_core.errors import CheckpointError

EXPECTED = (
    "expected a released PartCLIPSeg, PartCATSeg or CAT-Seg .pth, a released OpenSeeD .pt, a Hugging Face "
    "CLIPSeg directory (config.json and weights), or an original CLIPSeg decoder .pth"
)
_RELEASED_PREFIX = "partclipseg_model."
_REFUSED = re.compile(r"(?:GLOBAL|global|Unsupported class) ([\w.]+)")
_TERMINAL = re.compile(r"\x1b\[[0-9;]*m")  # PyTorch prints some of its errors in bold


@dataclass(frozen=True)
class ReleasedWeights:
    """Weights of another project, and what the user says about them.

    Attributes:
        state: tensors by the names of that project.
        config: Hugging Face configuration beside the weights, or empty.
        vocabulary: benchmark that the weights were trained on, or "".
        clip: open_clip's tag of CLIP weights, for files that lack them.
        separate_aggregation: for PartCATSeg, see :class:`ovps_core.models.partcatseg.corrections.Corrections`.
    """

    state: StateDict
    config: Mapping[str, Any]
    vocabulary: str
    clip: str
    separate_aggregation: bool = False


def read_state(source: Path) -> StateDict:
    """Read the tensors of a file or Hugging Face directory; optimiser state and anything else is left out.

    Pickled files go through PyTorch's restricted unpickler, which builds tensors and plain containers only.

    Raises:
        CheckpointError: the file is missing or damaged, or its pickle holds objects other than tensors.
    """
    path = _weights_file(source)
    refuse_stand_in(path)
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{path} is cut, damaged or no safetensors file: {error}"
            ) from error
    try:
        content = _unpickle(path)
    except Exception as error:  # damaged pickles raise errors of every kind
        raise CheckpointError(f"{path} cannot be read as weights: {_reason(error)}") from error
    content = _unwrap(content)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not a state dict; {EXPECTED}"
        )
    state = {
        str(key).removeprefix(_RELEASED_PREFIX): torch.as_tensor(value)
        for key, value in content.items()
        if isinstance(value, Tensor) or hasattr(value, "__array__")
    }
    if not state:
        raise CheckpointError(f"{path} holds no tensors, but {_listed(content)}; {EXPECTED}")
    return _without_wrapper(state)


def _reason(error: Exception) -> str:
    """Why a pickle cannot be read, without PyTorch's advice to load what it refuses."""
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = _TERMINAL.sub("", str(error)).strip()
    if found := _REFUSED.search(text):
        return (
            f"it holds the Python object {found[1]}; objects other than tensors and plain containers are "
            "not loaded for safety. Save its state dict alone where you trust the file"
        )
    if "weights_only" in text or not text:
        return "the file is damaged, or no file of PyTorch"
    first = text.splitlines()[0].partition(". ")[0]
    return f"{first}; the file is damaged, or no file of PyTorch"


def _unwrap(content: Any) -> Any:
    """The state dict in a checkpoint of a training framework, which keeps it beside other things."""
    while isinstance(content, Mapping):
        inner = [content[k] for k in ("model", "state_dict") if isinstance(content.get(k), Mapping)]
        if not inner:
            break
        content = inner[0]
    return content


def _without_wrapper(state: StateDict) -> StateDict:
    """Tensors without the prefix that DistributedDataParallel or a Lightning module gives all of them."""
    for prefix in ("module.", "model."):
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _listed(content: Mapping[Any, Any]) -> str:
    return ", ".join(map(str, list(content)[:5])) or "nothing"


def read_hugging_face_config(source: Path) -> dict[str, Any]:
    """Read the config.json beside the weights, with ``image_size`` of the processor; empty if there is none.

    Raises:
        CheckpointError: a file is damaged.
    """
    folder = source if source.is_dir() else source.parent
    if not (folder / "config.json").is_file():
        return {}
    config = _read_json(folder / "config.json")
    processor = folder / "preprocessor_config.json"
    if processor.is_file():
        size = _read_json(processor).get("size", {})
        config["image_size"] = size.get("height", 352) if isinstance(size, dict) else size
    return config


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; expected a configuration")
    return content


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
    refuse_shards(source)
    raise CheckpointError(f"no weights at {source}; {EXPECTED}")
