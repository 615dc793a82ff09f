"""CLIPSeg's decoder: a small transformer over image tokens, modulated by each condition.

Source: Lüddecke and Ecker, "Image Segmentation Using Text and Image Prompts", CVPR 2022; PartCLIPSeg
(NeurIPS 2024) uses it unchanged for its first head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.models.layers.attention import merge_heads, split_heads


class FiLM(nn.Module):
    """Feature-wise linear modulation: ``mul(c) * x + add(c)``, the same for all tokens."""

    def __init__(self, condition_dim: int, dim: int) -> None:
        super().__init__()
        self.mul = nn.Linear(condition_dim, dim)
        self.add = nn.Linear(condition_dim, dim)

    def forward(self, tokens: Tensor, conditions: Tensor) -> Tensor:
        """Tokens float [B, C | 1, N, dim] and conditions float [C, D] -> float [B, C, N, dim]."""
        return self.mul(conditions)[:, None] * tokens + self.add(conditions)[:, None]


class Block(nn.Module):
    """A post-norm transformer block: ``h = LN(h + MHSA(h)); h = LN(h + MLP(h))``."""

    def __init__(self, dim: int, heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.ReLU(), nn.Linear(mlp_dim, dim))
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens float [M, N, dim] -> the same shape."""
        query, key, value = self._heads(tokens)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self._mlp_and_norms(tokens, mixed)

    def with_attention(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens as from :meth:`forward`, and softmaxed attention float [M, heads, N, N], rows are queries."""
        query, key, value = self._heads(tokens)
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        attention = scores.softmax(dim=-1)
        return self._mlp_and_norms(tokens, attention @ value), attention

    def _heads(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return split_heads(tokens, self.qkv.weight, self.qkv.bias, self.heads)

    def _mlp_and_norms(self, tokens: Tensor, mixed: Tensor) -> Tensor:
        tokens = self.norm1(tokens + self.out(merge_heads(mixed)))
        return self.norm2(tokens + self.mlp(tokens))


class Upsampler(nn.Sequential):
    """Upsampler of feature maps to logits at ``stride`` times their size.

    "refined" (rd64-refined): 3x3 convolution, then two transposed convolutions; "plain" (rd64): one transposed
    convolution. A stride that does not split into two equal steps takes the larger one first.
    """

    def __init__(self, dim: int, stride: int, refined: bool) -> None:
        if not refined:
            super().__init__(nn.ConvTranspose2d(dim, 1, stride, stride))
            return
        second = next(step for step in range(int(stride**0.5), 0, -1) if stride % step == 0)
        first = stride // second
        super().__init__(
            nn.Conv2d(dim, dim, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(dim, dim // 2, first, first),
            nn.ReLU(),
            nn.ConvTranspose2d(dim // 2, 1, second, second),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps float [B, C, dim, h, w] -> logits float [B, C, stride * h, stride * w].

        A transposed convolution whose stride equals its kernel is a linear layer followed by a pixel shuffle. In
        this form it is several times faster on a CPU and also runs in 16 bit; both steps share one shuffle.
        """
        hidden, (height, width) = maps.flatten(0, 1), maps.shape[-2:]
        sides: list[int] = []
        for layer in self:
            if isinstance(layer, nn.ConvTranspose2d):
                if not sides:
                    hidden = hidden.flatten(2).transpose(1, 2)  # [M, h * w, channels]
                hidden = _upsample_step(layer, hidden)
                sides.append(layer.stride[0])
            else:
                hidden = layer(hidden)
        # Each step made a block of pixels from one: [M, h, w, step, step, ...]. Bring rows and columns together.
        extents = [height, width, *(side for side in sides for _ in range(2))]
        moved = hidden.reshape(-1, *extents)
        moved = moved.permute(0, *range(1, moved.dim(), 2), *range(2, moved.dim(), 2))
        stride = math.prod(sides)
        return moved.reshape(*maps.shape[:2], stride * height, stride * width)


def _upsample_step(layer: nn.ConvTranspose2d, tokens: Tensor) -> Tensor:
    """Tokens float [M, N, in] -> float [M, N * step * step, out]; the pixels of a token are consecutive."""
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)  # [step * step * out, in]
    assert layer.bias is not None  # Upsampler makes layers with a bias
    bias = layer.bias.repeat(layer.stride[0] ** 2)
    outputs = F.linear(tokens, weight, bias)
    return outputs.unflatten(2, (-1, layer.out_channels)).flatten(1, 2)


class FilmDecoder(nn.Module):
    """Decoder that combines every image with every condition.

    Args:
        widths: channels of the encoder layers, shallow to deep; the deepest enters first, with the condition.
        condition_dim: D of the conditions.
        dim, heads, mlp_dim: sizes of the blocks, one block per layer.
    """

    def __init__(
        self, widths: Sequence[int], condition_dim: int, *, dim: int, heads: int, mlp_dim: int
    ) -> None:
        super().__init__()
        self.reduces = nn.ModuleList(nn.Linear(width, dim) for width in reversed(widths))
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_dim) for _ in widths)
        self.film = FiLM(condition_dim, dim)

    def reduce(self, layers: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Encoder tokens, shallow to deep, each float [B, N, width] -> each float [B, N, dim], deep to shallow.

        It does not depend on the conditions, so it is part of encoding the image.
        """
        return tuple(
            reduce(tokens) for reduce, tokens in zip(self.reduces, reversed(layers), strict=True)
        )

    def forward(
        self, reduced: Sequence[Tensor], conditions: Tensor, *, keep_attention: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Decode C conditions on B images.

        Args:
            reduced: result of :meth:`reduce`.
            conditions: float [C, D].
            keep_attention: also return the blocks' attention; needs much memory.

        Returns:
            Tokens float [B, C, N, dim], and attention float [B, C, heads, N, N] per block, empty if not kept.
        """
        shape = reduced[0].shape[0], conditions.shape[0]
        hidden, attentions = None, []
        for layer, block in zip(reduced, self.blocks, strict=True):
            image = layer[:, None]
            hidden = self.film(image, conditions) if hidden is None else hidden + image
            tokens = hidden.flatten(0, 1)
            if keep_attention:
                tokens, attention = block.with_attention(tokens)  # type: ignore[operator]
                attentions.append(attention.unflatten(0, shape))
            else:
                tokens = block(tokens)
            hidden = tokens.unflatten(0, shape)
        assert hidden is not None  # there is at least one layer
        return hidden, attentions


def tokens_to_maps(tokens: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
    """Tokens float [B, C, prefix + h * w, dim] -> maps float [B, C, dim, h, w]; prefix tokens are dropped."""
    return tokens[:, :, prefix:].transpose(2, 3).unflatten(3, grid)
