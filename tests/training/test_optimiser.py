"""Parameters that AdamW does not decay, whatever the network, and the learning rate by step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("lightning")
from training.clipseg.module import parameter_groups
from training.clipseg.recipe import OptimRecipe
from training.optimiser import half_cosine, scheduled, undecayed


def test_normalisations_and_embeddings_do_not_decay() -> None:
    layers = {
        "batch": nn.BatchNorm2d(4),
        "synchronised": nn.SyncBatchNorm(4),
        "layer": nn.LayerNorm(4),
        "group": nn.GroupNorm(2, 4),
        "embedding": nn.Embedding(3, 4),
        "convolution": nn.Conv2d(4, 4, 1),
    }
    network = nn.ModuleDict(layers)
    still = undecayed(network)
    names = {name.split(".")[0] for name, each in network.named_parameters() if id(each) in still}
    assert names == {*layers} - {"convolution"}
    decaying, exempt = parameter_groups(network, nn.Identity(), OptimRecipe(weight_decay=0.1))
    assert (decaying["weight_decay"], exempt["weight_decay"]) == (0.1, 0.0)
    shapes = [tuple(parameter.shape) for parameter in decaying["params"]]  # type: ignore[attr-defined]
    assert shapes == [(4, 4, 1, 1), (4,)]
    assert all(isinstance(parameter, torch.Tensor) for parameter in exempt["params"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("warmup", "expected"), [(0, [1.0, 0.75, 0.25, 0.0]), (2, [0.5, 0.75, 0.25, 0.0])]
)
def test_the_learning_rate_rises_and_falls(warmup: int, expected: list[float]) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=2.0)
    config = scheduled(optimizer, warmup, lambda step: half_cosine(step / 3))
    rates = []
    for _ in expected:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        config["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([2 * factor for factor in expected])
