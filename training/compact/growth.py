"""New objects in a trained compact model: more words, with all that it knew unchanged at first.

A class that the model has never seen was background to it. So each new row of a softmax starts as a copy of
the background's row, and both get an equal share of its probability (Cermelli et al., "Modeling the Background
for Incremental Learning in Semantic Segmentation", CVPR 2020, eq. 10). The old classes then have exactly the
probabilities that they had.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ovps_core.errors import CheckpointError, ConfigError
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.models.compact.model import PartFPN

BACKGROUND = 0
"""Row of the background in each softmax."""

SoftmaxNames = tuple[Sequence[object], Sequence[object], Sequence[object]]
"""Classes of the softmaxes over objects, parts and object-parts, without the background."""


def grown_config(
    start: PartFPNConfig,
    objects: Sequence[Sequence[str]],
    *,
    keep: Sequence[str] = (),
    synonyms: Sequence[Sequence[str]] = (),
) -> PartFPNConfig:
    """Configuration of a network that knows more objects, or fewer of the old ones.

    Args:
        start: the network to start from; its calibration is kept.
        objects: new objects, each followed by the names of its parts.
        keep: objects of ``start`` to keep; empty for all. The words of parts that no object has are dropped.
        synonyms: a name of an object or a part, followed by other words for it.

    Raises:
        ConfigError: a kept object or a synonym's name is not known, or an object has no parts.
    """
    strangers = [name for name in keep if name not in start.objects]
    if strangers:
        raise ConfigError(
            f"cannot keep {', '.join(strangers)}: the model to start from knows {', '.join(start.objects)}"
        )
    without_parts = [names[0] for names in objects if len(names) < 2]
    if without_parts:
        raise ConfigError(
            f"the new object {without_parts[0]!r} has no parts; expected [object, part, part, ...]"
        )
    added = [(names[0], part) for names in objects for part in names[1:]]
    kept = [name for name in start.objects if not keep or name in keep]
    old = [each for each in start.object_parts if each[0] in kept]
    object_parts = tuple(dict.fromkeys([*old, *added]))
    used = {part for _, part in object_parts}
    parts = [part for part in start.parts if not keep or part in used]
    known_objects = tuple(dict.fromkeys([*kept, *(names[0] for names in objects)]))
    known_parts = tuple(dict.fromkeys([*parts, *(part for _, part in added)]))
    for names in synonyms:
        if not names or names[0] not in (*known_objects, *known_parts):
            raise ConfigError(
                f"{list(names)} gives other words for {names[0] if names else ''!r}, which is neither an object "
                "nor a part of this model; expected [name, word, word, ...]"
            )
    inherited = [names for names in start.synonyms if names[0] in (*known_objects, *known_parts)]
    return replace(
        start,
        objects=known_objects,
        parts=known_parts,
        object_parts=object_parts,
        synonyms=tuple(tuple(names) for names in (*inherited, *synonyms)),
    )


def grown_state(start: PartFPN, config: PartFPNConfig) -> dict[str, Tensor]:
    """Tensors of a network with ``config`` that answers for all kept classes as ``start`` does.

    Rows of dropped classes are left out; rows of new classes share the probability of the background.

    Args:
        start: the trained network.
        config: from :func:`grown_config`.
    """
    state = dict(start.state_dict())
    for tensor in ("weight", "bias"):
        rows = start.head.get_parameter(tensor).detach().split(start.splits)
        state[f"head.{tensor}"] = torch.cat(
            [
                _grown_rows(old_rows, old, new, is_bias=tensor == "bias")
                for old_rows, old, new in zip(
                    rows, softmax_names(start.config), softmax_names(config), strict=True
                )
            ]
        )
    return state


def interpolate_weights(
    fine_tuned: Mapping[str, Tensor], start: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """``share`` of the fine-tuned weights and the rest of those that the fine-tuning started from.

    It keeps most of both (WiSE-FT, Wortsman et al., CVPR 2022).

    Raises:
        CheckpointError: the two networks differ.
    """
    if {k: v.shape for k, v in fine_tuned.items()} != {k: v.shape for k, v in start.items()}:
        raise CheckpointError("the weights to interpolate with are of another network")
    return {
        key: torch.lerp(start[key].float(), value.float(), share).to(value.dtype)
        if value.is_floating_point()
        else value
        for key, value in fine_tuned.items()
    }


def softmax_names(config: PartFPNConfig) -> SoftmaxNames:
    """Classes of a network's three softmaxes."""
    return config.objects, config.parts, config.object_parts


def class_columns(old: Sequence[object], new: Sequence[object]) -> tuple[Tensor, Tensor]:
    """Columns to compare two softmaxes of which one has other classes: each column -> the shared one.

    Classes that only one of them has are its background.

    Returns:
        int64 [1 + old] and int64 [1 + new], positions among the shared classes, background first.
    """
    shared = [name for name in old if name in new]
    position = {name: 1 + i for i, name in enumerate(shared)}
    return tuple(  # type: ignore[return-value]
        torch.tensor([BACKGROUND, *(position.get(name, BACKGROUND) for name in names)])
        for names in (old, new)
    )


def _grown_rows(
    rows: Tensor, old: Sequence[object], new: Sequence[object], *, is_bias: bool
) -> Tensor:
    background = rows[BACKGROUND]
    added = sum(name not in old for name in new)
    if is_bias:
        background = background - math.log(1 + added)
    position = {name: 1 + i for i, name in enumerate(old)}
    return torch.stack(
        [background, *(rows[position[name]] if name in position else background for name in new)]
    )
