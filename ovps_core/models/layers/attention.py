"""Self-attention in the form that inference engines run fastest."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def split_heads(
    tokens: Tensor, weight: Tensor, bias: Tensor, heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Project tokens to queries, keys and values.

    One product with all three would have to be cut apart afterwards. Three products leave nothing to copy, and an
    engine can fold the scale of the scores into their weights.

    Args:
        tokens: float [B, N, dim].
        weight, bias: float [3 * dim, dim] and [3 * dim]: of queries, keys, values, one below the other.
        heads: number of heads.

    Returns:
        Three times float [B, heads, N, dim / heads].
    """
    query, key, value = (
        F.linear(tokens, *one).unflatten(-1, (heads, -1)).transpose(1, 2)
        for one in zip(weight.chunk(3), bias.chunk(3), strict=True)
    )
    return query, key, value


def merge_heads(mixed: Tensor) -> Tensor:
    """Float [B, heads, N, d] -> [B, N, heads * d]."""
    return mixed.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """``nn.MultiheadAttention`` of tokens with themselves, under the same parameter names.

    It is batch first throughout. PyTorch's own moves tokens in front of the batch, which costs copies in exported
    graphs.
    """

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        # batch first, keys and values as wide as queries, biases: as image towers have them
        assert original.batch_first and original.in_proj_weight is not None
        assert original.in_proj_bias is not None and original.bias_k is None
        self.heads = original.num_heads
        self.in_proj_weight = original.in_proj_weight
        self.in_proj_bias = original.in_proj_bias
        self.out_proj = original.out_proj

    def forward(
        self,
        tokens: Tensor,
        *same: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Tokens float [B, N, dim] -> the same shape, and no attention; called as open_clip calls PyTorch's."""
        assert attn_mask is None and not need_weights and all(one is tokens for one in same)
        parts = split_heads(tokens, self.in_proj_weight, self.in_proj_bias, self.heads)
        return self.out_proj(merge_heads(F.scaled_dot_product_attention(*parts))), None


def replace_multihead_attention(network: nn.Module) -> None:
    """Replace every ``nn.MultiheadAttention`` in ``network`` by :class:`SelfAttention`, for graphs to be exported.

    Rounding differs in the last digits, so the network that PyTorch runs keeps its own.
    """
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.MultiheadAttention):
                setattr(module, name, SelfAttention(child))
