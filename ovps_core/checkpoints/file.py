"""Our own file: one safetensors with the network's configuration in its header."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ovps_core.errors import CheckpointError
from ovps_core.models.families import FAMILIES
from ovps_core.models.interface import PartModel, QueryEncoder

_HEADER = "ovps"
_TEXT_PREFIX = "text."
_RENAMED = {"tiny": "compact"}  # families of headers that version 0.1.0 wrote


@dataclass(frozen=True)
class CheckpointInfo:
    """Header of a weights file.

    Attributes:
        name: the name that a user types.
        model: model family, a key of :data:`ovps_core.models.families.FAMILIES`.
        config: configuration of the network, a frozen dataclass of the family.
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


class LoadedModel(NamedTuple):
    """A network with its weights, the encoder of its queries, and the header of its file."""

    model: PartModel
    query_encoder: QueryEncoder
    info: CheckpointInfo


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
    family = header.pop("model")
    family = _RENAMED.get(family, family)
    if family not in FAMILIES:
        raise CheckpointError(
            f"{path} holds a {family!r}; this version knows {', '.join(FAMILIES)}"
        )
    try:
        config = FAMILIES[family].config.from_json(header.pop("config"))
    except (TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} was made for another version of the model {family!r} ({error}); make it again"
        ) from error
    return CheckpointInfo(model=family, config=config, digest=sha256(path), **header)


def load_model(path: Path) -> LoadedModel:
    """Build the network and the query encoder of a file and load their weights, on the CPU, for inference.

    Raises:
        CheckpointError: see :func:`read_info`; also if tensors are missing, unexpected or of other shapes.
    """
    info = read_info(path)
    with safe_open(path, "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return build_model(info, state, origin=str(path))


def build_model(info: CheckpointInfo, state: dict[str, Tensor], *, origin: str) -> LoadedModel:
    """The network and the query encoder of ``info`` with the weights of ``state``, for inference.

    Raises:
        CheckpointError: the tensors do not fit; lists the first missing, unexpected and reshaped ones.
    """
    model, query_encoder = FAMILIES[info.model].build(info.config)
    _check_tensors(state, full_state(model, query_encoder), type(model).__name__, origin)
    load_full_state(model, query_encoder, state)
    model.eval().requires_grad_(False)
    if query_encoder.text_encoder is not None:
        query_encoder.text_encoder.eval().requires_grad_(False)
    return LoadedModel(model, query_encoder, info)


def full_state(model: PartModel, query_encoder: QueryEncoder) -> dict[str, Tensor]:
    """Tensors of a weights file: those of the network, and of the text encoder behind the prefix "text."."""
    state = dict(model.state_dict())
    if query_encoder.text_encoder is not None:
        text = query_encoder.text_encoder.state_dict()
        state |= {_TEXT_PREFIX + name: tensor for name, tensor in text.items()}
    return state


def load_full_state(
    model: PartModel, query_encoder: QueryEncoder, state: dict[str, Tensor], *, strict: bool = True
) -> None:
    """Load what :func:`full_state` returned; with ``strict=False`` tensors may be missing."""
    text = {
        name.removeprefix(_TEXT_PREFIX): tensor
        for name, tensor in state.items()
        if name.startswith(_TEXT_PREFIX)
    }
    network = {name: t for name, t in state.items() if not name.startswith(_TEXT_PREFIX)}
    model.load_state_dict(network, strict=strict)
    if query_encoder.text_encoder is not None:
        query_encoder.text_encoder.load_state_dict(text, strict=strict)


def check_fit(info: CheckpointInfo, state: dict[str, Tensor], *, origin: str) -> None:
    """Raise CheckpointError unless ``state`` has exactly the tensors of the network of ``info``."""
    with torch.device("meta"):  # shapes only: no second copy of the weights
        model, query_encoder = FAMILIES[info.model].build(info.config)
        expected = full_state(model, query_encoder)
    _check_tensors(state, expected, type(model).__name__, origin)


def _check_tensors(
    state: dict[str, Tensor], expected: dict[str, Tensor], network: str, origin: str
) -> None:
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
    lines = [f"the weights of {origin} do not fit a {network}:"]
    for problem, names in problems:
        if names:
            more = f", and {len(names) - 5} more" if len(names) > 5 else ""
            lines.append(f"  {len(names)} {problem}: {', '.join(names[:5])}{more}")
    raise CheckpointError("\n".join(lines))


def sha256(path: Path) -> str:
    """Digest of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
