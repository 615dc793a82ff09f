"""Parameters of the optimiser, those without weight decay, and the learning rate by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

_UNDECAYED = (nn.LayerNorm, nn.GroupNorm, _BatchNorm, nn.Embedding)


def named_parameters(
    model: nn.Module, text_encoder: nn.Module
) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters of a network and its text encoder under the names of a weights file."""
    yield from model.named_parameters()
    for name, parameter in text_encoder.named_parameters():
        yield f"text.{name}", parameter


def undecayed(*networks: nn.Module) -> frozenset[int]:
    """``id`` of each parameter of a normalisation or an embedding; biases of other layers are not among them."""
    return frozenset(
        id(parameter)
        for network in networks
        for module in network.modules()
        if isinstance(module, _UNDECAYED)
        for parameter in module.parameters(recurse=False)
    )


def adamw_groups(
    named: Iterable[tuple[str, nn.Parameter]],
    weight_decay: float,
    *,
    lr: Callable[[str], float],
    is_undecayed: Callable[[str, nn.Parameter], bool],
) -> list[dict[str, Any]]:
    """Trained parameters in one group for each learning rate and decay: the fastest first, then those that decay.

    Args:
        named: parameters under their names; frozen ones are left out.
        weight_decay: of the parameters that decay.
        lr: learning rate of a parameter, from its name.
        is_undecayed: whether a parameter never decays.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            decay = 0.0 if is_undecayed(name, parameter) else weight_decay
            groups.setdefault((lr(name), decay), []).append(parameter)
    return [
        {"params": groups[key], "lr": key[0], "weight_decay": key[1]}
        for key in sorted(groups, reverse=True)
    ]


def half_cosine(share: float) -> float:
    """Factor of the learning rate after a share of the training: from 1 down to 0, and 0 beyond the end.

    >>> [round(half_cosine(share), 2) for share in (0, 0.5, 1, 2)]
    [1.0, 0.5, 0.0, 0.0]
    """
    return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def scheduled(
    optimizer: Optimizer, warmup: int, decay: Callable[[int], float]
) -> OptimizerLRSchedulerConfig:
    """An optimiser with its schedule, in the form that Lightning takes.

    Args:
        optimizer: its learning rates are those of the top.
        warmup: steps of linear rise.
        decay: factor of the learning rates by step, from 0.
    """

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / max(1, warmup)) * decay(step)

    schedule = LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
