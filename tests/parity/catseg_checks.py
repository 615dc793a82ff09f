"""Comparisons with recordings that CAT-Seg and PartCATSeg share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.catseg_recordings import Arrays, encode, network, pixels
from torch import Tensor

from ovps_core.checkpoints import LoadedModel
from ovps_core.models.backbones.clip_vit import ClipVit
from ovps_core.models.catseg.aggregation import CostBranch
from ovps_core.models.catseg.model import CATSeg, guides
from ovps_core.models.interface import Features

FEATURES, LOGITS, LOSSES, GRADIENTS = 1e-5, 6e-6, 3e-7, 5e-6
"""Tolerances that a second implementation in float32 met; that of gradients is relative."""


def check(
    arrays: Arrays, key: str, ours: Tensor, *, atol: float = FEATURES, rtol: float = 0.0
) -> None:
    """Compare with a recorded array; some recordings leave out intermediate ones."""
    if key in arrays:
        recorded = arrays[key]
        torch.testing.assert_close(
            ours, recorded, rtol=rtol, atol=atol, msg=lambda text: f"{key}: {text}"
        )


def check_map(arrays: Arrays, key: str, ours: Tensor) -> None:
    """Compare aggregated maps. Values reach 50; the relative part is for processors that sum in another order."""
    check(arrays, key, ours, atol=3e-5, rtol=1e-6)


def check_features(loaded: LoadedModel, arrays: Arrays, split: str) -> None:
    """Blocks and dense patches of CLIP, layers and resized maps of the guidance, and its projections."""
    model, config = network(loaded), network(loaded).config
    clip, imagenet = pixels(arrays, split)
    clip = F.interpolate(clip, (config.image_size,) * 2, mode="bilinear")
    imagenet = F.interpolate(imagenet, (config.guidance_size,) * 2, mode="bilinear")
    layers = ClipVit(model.backbone.tower.visual, (0, 1))(clip)
    for number, tokens in enumerate(layers):
        check(arrays, f"{split}_clip_block{number}", tokens)
    check(arrays, f"{split}_clip_dense", model.backbone(clip)[0])
    assert model.guidance is not None
    last = model.guidance.last_layer(imagenet)
    if f"{split}_dino_norm_tokens" in arrays:
        recorded = arrays[f"{split}_dino_norm_tokens"][:, 1:]
        torch.testing.assert_close(last.flatten(2).transpose(1, 2), recorded, rtol=0, atol=FEATURES)
    grid = model.backbone.grid(config.image_size, config.image_size)
    for number, level in zip((4, 3, 2), model.guidance(imagenet, grid), strict=True):
        check(arrays, f"{split}_dino_res{number}", level)
    features = encode(loaded, arrays, split)
    for name, level in zip(("swin", "decoder1", "decoder2"), guides(features), strict=True):
        assert level is not None
        check(arrays, f"{split}_guidance_{name}", level)


def check_layers(
    model: CATSeg,
    branch: CostBranch,
    features: Features,
    cost: Tensor,
    rows: Tensor,
    arrays: Arrays,
    keys: tuple[str, str, str, str],
) -> Tensor:
    """Embedding, halves of all layers and steps of the decoder of one branch; returns the aggregated maps.

    ``keys`` are the names of the recorded embedding, layers, last layer and (with a number) decoder steps.
    """
    text, guidance = model.text_guidance(model.banks(rows)), guides(features)
    embed, layer_key, last, step_key = keys
    maps = branch.embedded(cost)
    check_map(arrays, embed, maps.flatten(0, 1))
    for number, layer in enumerate(branch.layers):
        spatial = layer.spatial(maps, guidance[0])
        check_map(arrays, f"{layer_key}{number}_swin", spatial.transpose(1, 2))
        maps = layer(maps, guidance[0], text)
        check_map(arrays, f"{layer_key}{number}", maps.transpose(1, 2))
    check_map(arrays, last, maps.transpose(1, 2))
    decoded = maps
    for number, (step, shared) in enumerate(zip(model.decoder.steps, guidance[1:], strict=True), 1):
        decoded = step(decoded, shared)
        check_map(arrays, step_key.format(number), decoded.flatten(0, 1))
    return maps


def check_gradients(
    model: CATSeg,
    key: Callable[[str], str | None],
    arrays: Arrays,
    recorded: Mapping[str, Any],
) -> None:
    """Norms of all recorded gradients, and the whole of some; parameters that are not recorded have none."""
    ours = dict(model.named_parameters())
    for name, norm in recorded["grad_norm"].items():
        gradient = ours[str(key(name))].grad
        assert gradient is not None, name
        # The bias of keys has no influence, as a constant added to all keys cancels in the softmax: its
        # gradient is rounding.
        assert gradient.norm().item() == pytest.approx(norm, rel=GRADIENTS, abs=1e-8), name
    whole = [name for name in arrays if name.startswith("grad.")]
    for name in whole:
        gradient, theirs = ours[str(key(name.removeprefix("grad.")))].grad, arrays[name]
        assert gradient is not None, name
        assert ((gradient - theirs).norm() / theirs.norm()).item() < GRADIENTS, name
    for name in recorded["no_gradient"]:
        parameter = ours.get(str(key(name)))
        assert parameter is None or parameter.grad is None, name
