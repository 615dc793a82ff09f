"""Normalisations and embeddings are not decayed, whatever the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("lightning")
from training.partclipseg.module import parameter_groups
from training.weight_decay import undecayed


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
    decaying, exempt = parameter_groups(network, nn.Identity(), 0.1)
    assert (decaying["weight_decay"], exempt["weight_decay"]) == (0.1, 0.0)
    shapes = [tuple(parameter.shape) for parameter in decaying["params"]]  # type: ignore[attr-defined]
    assert shapes == [(4, 4, 1, 1), (4,)]
    assert all(isinstance(parameter, torch.Tensor) for parameter in exempt["params"])  # type: ignore[attr-defined]
