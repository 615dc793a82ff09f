"""Our own file: one safetensors with the network's configuration in its header."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ovps_core.errors import CheckpointError
from ovps_core.models.clipseg.model import CLIPSeg, CLIPSegConfig
from ovps_core.models.compact.model import PartFPN, PartFPNConfig
from ovps_core.models.interface import PartModel
from ovps_core.models.partclipseg.model import PartCLIPSeg, PartCLIPSegConfig

_HEADER = "ovps"
_MODELS: dict[str, tuple[type[Any], type[Any]]] = {
    "clipseg": (CLIPSeg, CLIPSegConfig),
    "partclipseg": (PartCLIPSeg, PartCLIPSegConfig),
    "tiny": (PartFPN, PartFPNConfig),
}


@dataclass(frozen=True)
class CheckpointInfo:
    """What a file says of itself.

    Attributes:
        name: as a person names the model.
        model: the network's kind, a key of the table of networks.
        config: its configuration, a frozen dataclass with ``from_json``.
        licence: SPDX identifier of the weights, or "unknown".
        source: where the weights came from.
        digest: sha256 of the whole file, hexadecimal; empty before it is written.
    """

    name: str
    model: str
    config: Any
    licence: str = "unknown"
    source: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.name} (sha256 {self.digest[:12]})"


def save_model(path: Path, state: dict[str, Tensor], info: CheckpointInfo) -> CheckpointInfo:
    """Write ``state`` and ``info`` to ``path``, all or nothing.

    Returns:
        ``info`` with the digest of what was written.
    """
    header = {
        "name": info.name,
        "model": info.model,
        "licence": info.licence,
        "source": info.source,
    }
    metadata = {_HEADER: json.dumps({**header, "config": asdict(info.config)})}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    save_file(state, unfinished, metadata=metadata)
    unfinished.replace(path)
    return replace(info, digest=sha256(path))


def read_info(path: Path) -> CheckpointInfo:
    """What the file at ``path`` says of itself; its weights are hashed, not loaded.

    Raises:
        CheckpointError: no such file, not safetensors, or not written by ``ovps convert``.
    """
    if not path.is_file():
        raise CheckpointError(
            f"no weights at {path}; `ovps models` lists the names and files there are"
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from error
    if _HEADER not in metadata:
        raise CheckpointError(
            f"{path} has weights but no OVPS configuration; make it one with `ovps convert {path} DST`"
        )
    header = json.loads(metadata[_HEADER])
    kind = header.pop("model")
    if kind not in _MODELS:
        raise CheckpointError(f"{path} holds a {kind!r}; this version knows {', '.join(_MODELS)}")
    try:
        config = _MODELS[kind][1].from_json(header.pop("config"))
    except (TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} was made for another version of the model {kind!r} ({error}); make it again"
        ) from error
    return CheckpointInfo(model=kind, config=config, digest=sha256(path), **header)


def load_model(path: Path) -> tuple[PartModel, CheckpointInfo]:
    """Build the network of a file and load its weights, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: see :func:`read_info`; also when tensors are missing, unexpected or of other shapes.
    """
    info = read_info(path)
    with safe_open(path, "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return build_model(info, state, origin=str(path)), info


def build_model(info: CheckpointInfo, state: dict[str, Tensor], *, origin: str) -> PartModel:
    """The network of ``info`` with the weights of ``state``, in evaluation mode.

    Raises:
        CheckpointError: the tensors do not fit; lists the first of each kind that is wrong.
    """
    model: PartModel = _MODELS[info.model][0](info.config)
    _check_fit(state, model, origin)
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def check_fit(info: CheckpointInfo, state: dict[str, Tensor], *, origin: str) -> None:
    """Raise CheckpointError unless ``state`` has exactly the tensors of the network of ``info``."""
    with torch.device("meta"):  # shapes only: no second copy of the weights
        _check_fit(state, _MODELS[info.model][0](info.config), origin)


def _check_fit(state: dict[str, Tensor], model: PartModel, origin: str) -> None:
    expected = model.state_dict()
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    reshaped = [
        f"{name} is {list(state[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    problems = [("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped)]
    if not any(names for _, names in problems):
        return
    lines = [f"the weights of {origin} do not fit a {type(model).__name__}:"]
    for what, names in problems:
        if names:
            more = f", and {len(names) - 5} more" if len(names) > 5 else ""
            lines.append(f"  {len(names)} {what}: {', '.join(names[:5])}{more}")
    raise CheckpointError("\n".join(lines))


def sha256(path: Path) -> str:
    """Digest of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
