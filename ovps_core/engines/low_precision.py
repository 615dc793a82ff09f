"""A copy of a network in 16 bit, "strongly typed": the precision of every operation is written in its tensors."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ovps_core.models.interface import PartModel


def inference_copy(model: PartModel, dtype: torch.dtype = torch.float32) -> PartModel:
    """A copy of ``model`` on the CPU, for inference; ``model`` stays as it is.

    In 16 bit the weights are rounded, but norms stay and compute in float32: sums of squares and variances leave
    the range of float16.

    Args:
        dtype: of the weights: float32, float16 or bfloat16.
    """
    twin = copy.deepcopy(model).cpu().eval().requires_grad_(False).float()
    if dtype is not torch.float32:
        for module in twin.modules():
            if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
                _compute_in_float32(module, dtype)
            else:
                _round(module, dtype)
    return twin


def _round(module: nn.Module, dtype: torch.dtype) -> None:
    """The module's own tensors, not those of modules in it."""
    for parameter in module.parameters(recurse=False):
        parameter.data = parameter.data.to(dtype)
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.is_floating_point():
            setattr(module, name, buffer.to(dtype))


def _compute_in_float32(norm: nn.Module, dtype: torch.dtype) -> None:
    def widen(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0].float(), *inputs[1:])

    def narrow(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        return output.to(dtype)

    norm.register_forward_pre_hook(widen)
    norm.register_forward_hook(narrow)
