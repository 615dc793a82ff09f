"""Copy of a network in 16 bit, strongly typed: the dtype of its tensors sets the precision of each operation."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ovps_core.models.network import PartModel


def inference_copy(model: PartModel, dtype: torch.dtype = torch.float32) -> PartModel:
    """A copy of ``model`` on the CPU, for inference; ``model`` stays as it is.

    In 16 bit the weights are rounded, but norms keep float32 weights and compute in float32: sums of squares and
    variances leave the range of float16.

    Args:
        model: the network.
        dtype: dtype of the weights: float32, float16 or bfloat16.
    """
    network = copy.deepcopy(model).cpu().eval().requires_grad_(False).float()
    if dtype is not torch.float32:
        for module in network.modules():
            if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d, nn.GroupNorm)):
                _compute_in_float32(module, dtype)
            else:
                _round(module, dtype)
    return network


def _round(module: nn.Module, dtype: torch.dtype) -> None:
    """Round the tensors of ``module``, but not those of its submodules."""
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
