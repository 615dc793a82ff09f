"""The format of a weights file: safetensors with the network's configuration in the header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError, safe_open

from ovps_core.checkpoints.stand_ins import refuse_stand_in
from ovps_core.errors import CheckpointError
from ovps_core.models.families import FAMILIES
from ovps_core.models.interface import ModelSpec, QueryEncoder
from ovps_core.structures.requirements import require_packages
from ovps_core.structures.whole_files import unfinished

if TYPE_CHECKING:
    from torch import Tensor

    from ovps_core.models.network import PartModel

_HEADER = "ovps"
_TEXT_PREFIX = "text."
_RENAMED = {"tiny": "compact"}  # families of headers that version 0.1.0 wrote


@dataclass(frozen=True)
class CheckpointInfo:
    """Header of a weights file.

    Attributes:
        name: the name that a user types.
        model: model family, a key of :data:`ovps_core.models.families.FAMILIES`; for a folder of transformers
            a key of :data:`ovps_core.models.prompted.networks.NETWORKS`.
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

    @property
    def spec(self) -> ModelSpec:
        """Specification of the network."""
        return self.model.spec


def save_model(path: Path, state: dict[str, Tensor], info: CheckpointInfo) -> CheckpointInfo:
    """Write ``state`` and ``info`` to ``path``, all or nothing.

    Returns:
        ``info`` with the digest of what was written.

    Raises:
        CheckpointError: a weight is not finite; nothing is written.
        OutputError: the file cannot be written.
    """
    from safetensors.torch import save_file

    _check_finite(state, f"the weights for {path}")
    header = {
        "name": info.name,
        "model": info.model,
        "licence": info.licence,
        "source": info.source,
    }
    metadata = {_HEADER: json.dumps({**header, "config": asdict(info.config)})}
    with unfinished(path) as beside:
        try:
            save_file(state, beside, metadata=metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error
    return replace(info, digest=sha256(path))


def read_info(path: Path) -> CheckpointInfo:
    """Read the header of the file at ``path``; its weights are hashed, not loaded.

    Raises:
        CheckpointError: no such file, cut, not safetensors, or not written by ``ovps convert``.
    """
    if not path.is_file():
        raise CheckpointError(
            f"no weights at {path}; `ovps models` lists the names and files there are"
        )
    refuse_stand_in(path)
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is cut, damaged or no safetensors file: {error}") from error
    if _HEADER not in metadata:
        raise CheckpointError(
            f"{path} has weights but no OVPS configuration; make it one with `ovps convert {path} DST`"
        )
    try:
        header = json.loads(metadata[_HEADER])
        family, values = str(header.pop("model")), header.pop("config")
        texts = {key: str(header[key]) for key in ("name", "licence", "source") if key in header}
        name = texts.pop("name")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} has a damaged OVPS configuration: {error}") from error
    family = _RENAMED.get(family, family)
    if family not in FAMILIES:
        raise CheckpointError(
            f"{path} holds a {family!r}; this version knows {', '.join(FAMILIES)}"
        )
    try:
        config = FAMILIES[family].config.from_json(values)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} was made for another version of the model {family!r} ({error}); make it again"
        ) from error
    return CheckpointInfo(name, family, config, digest=sha256(path), **texts)


def has_our_header(path: Path) -> bool:
    """Return whether there is a file that :func:`save_model` wrote."""
    try:
        with safe_open(path, "np") as file:
            return _HEADER in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return False


class ModelFile:
    """An open weights file. Its network is built on first use.

    With the exported graphs of an engine at hand, a model with a closed vocabulary answers queries without its
    network ever being built.

    Args:
        path: the file.

    Raises:
        CheckpointError: see :func:`read_info`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info = read_info(path)

    @cached_property
    def loaded(self) -> LoadedModel:
        """The network and its query encoder on the CPU, for inference.

        Raises:
            CheckpointError: tensors are missing, unexpected, of other shapes or of whole numbers.
        """
        return build_model(self.info, self._state(), origin=str(self.path))

    @property
    def model(self) -> PartModel:
        """The network."""
        return self.loaded.model

    @property
    def spec(self) -> ModelSpec:
        """Specification of the network."""
        return self._description[0]

    @property
    def query_encoder(self) -> QueryEncoder:
        """Encoder of queries for the network."""
        return self._description[1]

    def network_state(self) -> dict[str, Tensor]:
        """Tensors of the network by name, the same that its ``state_dict`` returns."""
        return _network_state(self._state())

    @cached_property
    def _description(self) -> tuple[ModelSpec, QueryEncoder]:
        describe = FAMILIES[self.info.model].describe
        if describe is None:
            return self.loaded.model.spec, self.loaded.query_encoder
        return describe(self.info.config)

    def _state(self) -> dict[str, Tensor]:
        require_packages("torch", extra="torch")
        with safe_open(self.path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def network(model: PartModel | ModelFile) -> PartModel:
    """Return the network itself; the one of a file is built now."""
    return model.model if isinstance(model, ModelFile) else model


def load_model(path: Path) -> LoadedModel:
    """Build the network and the query encoder of a file and load their weights, on the CPU, for inference.

    Raises:
        CheckpointError: see :func:`read_info`; also if tensors are missing, unexpected or of other shapes.
    """
    return ModelFile(path).loaded


def build_model(info: CheckpointInfo, state: dict[str, Tensor], *, origin: str) -> LoadedModel:
    """Build the network and the query encoder of ``info`` with the weights of ``state``, for inference.

    Raises:
        CheckpointError: the tensors do not fit; lists the first of each kind. Or some
            numbers are not finite.
    """
    require_packages("torch", extra="torch")
    model, query_encoder = FAMILIES[info.model].build(info.config)
    _check_tensors(state, full_state(model, query_encoder), type(model).__name__, origin)
    _check_finite(state, origin)
    load_full_state(model, query_encoder, state)
    model.eval().requires_grad_(False)
    if query_encoder.text_encoder is not None:
        query_encoder.text_encoder.eval().requires_grad_(False)
    return LoadedModel(model, query_encoder, info)


def full_state(model: PartModel, query_encoder: QueryEncoder) -> dict[str, Tensor]:
    """Return the tensors of a weights file: the network's, and the text encoder's with the prefix "text."."""
    state = dict(model.state_dict())
    if query_encoder.text_encoder is not None:
        text = query_encoder.text_encoder.state_dict()
        state |= {_TEXT_PREFIX + name: tensor for name, tensor in text.items()}
    return state


def load_full_state(
    model: PartModel, query_encoder: QueryEncoder, state: dict[str, Tensor], *, strict: bool = True
) -> None:
    """Load the tensors that :func:`full_state` returned; with ``strict=False`` some may be missing."""
    model.load_state_dict(_network_state(state), strict=strict)
    if query_encoder.text_encoder is not None:
        text = {
            name.removeprefix(_TEXT_PREFIX): tensor
            for name, tensor in state.items()
            if name.startswith(_TEXT_PREFIX)
        }
        query_encoder.text_encoder.load_state_dict(text, strict=strict)


def _network_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the network alone."""
    return {name: t for name, t in state.items() if not name.startswith(_TEXT_PREFIX)}


def check_fit(
    info: CheckpointInfo,
    state: dict[str, Tensor],
    *,
    origin: str,
    named: Callable[[str], str] = str,
) -> None:
    """Check that ``state`` has exactly the tensors of the family and configuration of ``info``.

    Args:
        info: the header.
        state: the tensors.
        origin: where they are from, for the message.
        named: name of a tensor in the user's file, for the message.

    Raises:
        CheckpointError: it does not; lists the first missing, unexpected and reshaped tensors, and those of whole
            numbers.
    """
    import torch

    with torch.device("meta"):  # shapes only: no second copy of the weights
        model, query_encoder = FAMILIES[info.model].build(info.config)
        expected = full_state(model, query_encoder)
    _check_tensors(
        {named(name): tensor for name, tensor in state.items()},
        {named(name): tensor for name, tensor in expected.items()},
        type(model).__name__,
        origin,
    )


def _check_finite(state: dict[str, Tensor], origin: str) -> None:
    """Check that every weight is a finite number; the sum of a tensor says so in one pass, without a copy."""
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.sum().isfinite():
            continue
        count = int((~tensor.isfinite()).sum())  # none if only the sum of half precision overflows
        if count:
            raise CheckpointError(
                f"{origin}: {count} of {tensor.numel()} numbers in {name} are not finite. The training diverged, "
                "or the file is damaged; use other weights, or train with a lower learning rate"
            )


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
    retyped = [
        f"{name} is {state[name].dtype}, expected {tensor.dtype}"
        for name, tensor in expected.items()
        if tensor.is_floating_point() and name in state and not state[name].is_floating_point()
    ]
    problems = [
        *(("missing", missing), ("unexpected", unexpected)),
        *(("of another shape", reshaped), ("of whole numbers", retyped)),
    ]
    if not any(names for _, names in problems):
        return
    lines = [f"the weights of {origin} do not fit a {network}:"]
    for problem, names in problems:
        if names:
            more = f", and {len(names) - 5} more" if len(names) > 5 else ""
            lines.append(f"  {len(names)} {problem}: {', '.join(names[:5])}{more}")
    raise CheckpointError("\n".join(lines))


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
