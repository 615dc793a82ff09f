"""Which parameters AdamW leaves without weight decay."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_UNDECAYED = (nn.LayerNorm, nn.GroupNorm, _BatchNorm, nn.Embedding)


def undecayed(*networks: nn.Module) -> frozenset[int]:
    """``id`` of each parameter of a normalisation or an embedding; biases of other layers are not among them."""
    return frozenset(
        id(parameter)
        for network in networks
        for module in network.modules()
        if isinstance(module, _UNDECAYED)
        for parameter in module.parameters(recurse=False)
    )
