"""Networks of timm as a pyramid of feature maps at the strides 4, 8, 16 and 32."""

from __future__ import annotations

from typing import Any

import timm
from torch import Tensor, nn

from ovps_core.errors import ConfigError

_STRIDES = (4, 8, 16, 32)


class TimmPyramid(nn.Module):
    """A convolutional or hierarchical network of timm, with random weights.

    Batch normalisation always uses its stored statistics, since batches of large images are too small for others.

    Args:
        name: of the timm network.

    Attributes:
        widths: channels of each map, fine to coarse.

    Raises:
        ConfigError: timm has no such network, or it has no maps at these strides.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        try:
            network: Any = timm.create_model(name, features_only=True)
        except (RuntimeError, AttributeError) as error:
            raise ConfigError(f"timm makes no pyramid of {name!r}: {error}") from error
        strides = network.feature_info.reduction()
        if not set(_STRIDES) <= set(strides):
            raise ConfigError(f"{name} has maps at the strides {strides}, expected {_STRIDES}")
        self._rows = [strides.index(stride) for stride in _STRIDES]
        self.widths = tuple(network.feature_info.channels()[row] for row in self._rows)
        self.trunk = network

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Pixels float [B, 3, H, W], sides divisible by 32 -> maps float [B, width, H / s, W / s]."""
        maps = self.trunk(pixels)
        return [maps[row] for row in self._rows]

    def train(self, mode: bool = True) -> TimmPyramid:
        """See :meth:`torch.nn.Module.train`; batch normalisation stays as in inference."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self
