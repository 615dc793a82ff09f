"""Attention among the classes of a cell, in two kinds."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ovps_core.models.catseg.config import ClassAttention

_LINEAR_EPSILON = 1e-6
_QUERY_EPSILON = 1e-8


def attend(kind: ClassAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of one of the two kinds: float [..., T, d] each -> float [..., T, d]."""
    return (
        linear_attention(query, key, value)
        if kind == "linear"
        else query_attention(query, key, value)
    )


def linear_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Linear attention: ``phi(q) (phi(k)^T v) / (phi(q) . sum phi(k))`` with ``phi = elu + 1``.

    Source: Katharopoulos et al., "Transformers are RNNs", ICML 2020. Float [..., T, d] each -> float [..., T, d].
    """
    query, key = F.elu(query) + 1, F.elu(key) + 1
    mixed = query @ (key.transpose(-1, -2) @ value)
    return mixed / (query @ key.sum(-2).unsqueeze(-1) + _LINEAR_EPSILON)


def query_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention in which the *queries* compete for each key.

    The softmax is over the queries; each query's weights are then divided by their sum. Source: slot attention
    (Locatello et al., NeurIPS 2020). Float [..., T, d] each -> float [..., T, d].
    """
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    weights = scores.softmax(-2) + _QUERY_EPSILON
    return (weights / weights.sum(-1, keepdim=True)) @ value
