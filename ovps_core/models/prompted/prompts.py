"""Prompts of text-prompted segmenters: tokens, embeddings of each token, and the conditions that carry them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_PADDING = -1  # replaces the tokeniser's own padding token, which also ends a text


@dataclass(frozen=True)
class Prompts:
    """Encoded prompts, padded to one length.

    Attributes:
        embeddings: float [N, L, D], one vector per token.
        valid: bool [N, L], False where padded.
    """

    embeddings: Tensor
    valid: Tensor

    def to_conditions(self) -> Tensor:
        """Rows float [N, L * (D + 1)] from which :meth:`from_conditions` makes the prompts again."""
        valid = self.valid[..., None].to(self.embeddings.dtype)
        return torch.cat([self.embeddings, valid], -1).flatten(1)

    @classmethod
    def from_conditions(cls, rows: Tensor, length: int) -> Prompts:
        """Prompts of rows float [N, length * (D + 1)].

        The first token always counts. It begins every prompt, and rows of zeros, which warm a model up, would
        have no token at all.
        """
        tokens = rows.unflatten(1, (length, -1))
        valid = tokens[..., -1] > 0.5
        valid[:, 0] = True
        return cls(tokens[..., :-1], valid)

    def __len__(self) -> int:
        return self.embeddings.shape[0]

    def __getitem__(self, rows: slice) -> Prompts:
        return Prompts(self.embeddings[rows], self.valid[rows])


class PromptTokenizer:
    """A tokeniser of transformers in the form that :class:`ovps_core.models.text.tower.TextEncoder` takes.

    Args:
        tokenizer: the tokeniser.
        context_length: number of tokens of a prompt, with those that mark begin and end.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context_length: int) -> None:
        self._tokenizer = tokenizer
        self.context_length: int | None = context_length

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """Tokens int64 [N, L], -1 where padded; what exceeds the context length L is cut off."""
        batch = self._tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=context_length or self.context_length,
            return_tensors="pt",
        )
        return batch["input_ids"].masked_fill(batch["attention_mask"] == 0, _PADDING)


class PromptTower(nn.Module):
    """The text side of a segmenter of transformers.

    Args:
        network: the segmenter; its ``get_text_features`` gives one vector per token.
        padding_token: the token that stands where a prompt is padded.
    """

    def __init__(self, network: PreTrainedModel, padding_token: int) -> None:
        super().__init__()
        self.network: Any = network
        self._padding_token = padding_token

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [N, L], -1 where padded -> conditions float [N, L * (D + 1)], see :class:`Prompts`."""
        valid = tokens != _PADDING
        encoded = self.network.get_text_features(
            input_ids=tokens.masked_fill(~valid, self._padding_token), attention_mask=valid.long()
        )
        return Prompts(encoded.pooler_output, valid).to_conditions()
