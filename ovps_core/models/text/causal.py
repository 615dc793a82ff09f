"""CLIP's causal text tower on token rows that are shorter than its context."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def embed_tokens(tower: Any, tokens: Tensor) -> Tensor:
    """Embeddings float [N, D] of tokens int64 [N, L], for any L up to the context.

    Args:
        tower: a text tower of open_clip with causal attention that is read at the end of each text.
        tokens: rows whose end token has the highest id.
    """
    length = tokens.shape[1]
    x = tower.token_embedding(tokens) + tower.positional_embedding[:length]
    x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
    ends = tokens.argmax(-1)
    return x[torch.arange(len(x), device=x.device), ends] @ tower.text_projection


def shortened(tokens: Tensor) -> Tensor:
    """Token rows without the padding behind the end of the longest text, which a causal tower does not look at."""
    return tokens[:, : int(tokens.argmax(-1).max()) + 1]
