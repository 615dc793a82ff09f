"""Self-attention in the form that inference engines run fastest."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def split_heads(
    tokens: Tensor, weight: Tensor, bias: Tensor, heads: int, values: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Project tokens to queries, keys and values.

    A single product with all three weights would have to be split, which copies. Three products copy nothing, and
    an engine can fold the scale of the scores into their weights.

    Args:
        tokens: float [B, N, dim].
        weight, bias: float [3 * dim, dim] and [3 * dim], stacked for queries, keys and values.
        heads: number of heads.
        values: float [B, N, dim], projected to values in place of ``tokens``.

    Returns:
        Three times float [B, heads, N, dim / heads].
    """
    sources = (tokens, tokens, tokens if values is None else values)
    query, key, value = (
        F.linear(source, *parameters).unflatten(-1, (heads, -1)).transpose(1, 2)
        for source, *parameters in zip(sources, weight.chunk(3), bias.chunk(3), strict=True)
    )
    return query, key, value


def merge_heads(mixed: Tensor) -> Tensor:
    """Concatenate heads: float [B, heads, N, d] -> [B, N, heads * d]."""
    return mixed.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """``nn.MultiheadAttention`` of tokens with themselves, under the same parameter names.

    The values may be others than the tokens, which is how decoders of queries add positions.

    The batch stays the first dimension. PyTorch's module moves the tokens to the front, which costs copies in
    exported graphs.
    """

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        # Image towers have this form: batch first, keys and values as wide as queries, with biases.
        assert original.batch_first and original.in_proj_weight is not None
        assert original.in_proj_bias is not None and original.bias_k is None
        self.heads = original.num_heads
        self.in_proj_weight = original.in_proj_weight
        self.in_proj_bias = original.in_proj_bias
        self.out_proj = original.out_proj

    def forward(
        self,
        tokens: Tensor,
        keys: Tensor,
        values: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Tokens float [B, N, dim] -> the same shape, and None in place of the attention, as open_clip expects."""
        assert attn_mask is None and not need_weights and keys is tokens
        parts = split_heads(tokens, self.in_proj_weight, self.in_proj_bias, self.heads, values)
        return self.out_proj(merge_heads(F.scaled_dot_product_attention(*parts))), None


def replace_multihead_attention(network: nn.Module) -> None:
    """Replace every ``nn.MultiheadAttention`` in ``network`` by :class:`SelfAttention`, before an export.

    Rounding differs in the last digits, so the network that PyTorch itself runs is not changed.
    """
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.MultiheadAttention):
                setattr(module, name, SelfAttention(child))
