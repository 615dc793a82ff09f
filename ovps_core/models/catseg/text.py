"""Text banks: the embeddings of a name in all prompt templates, kept apart."""

from __future__ import annotations

from collections.abc import Sequence

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovps_core.models.text.causal import embed_tokens, shortened
from ovps_core.models.text.tower import EmbeddingCache, TextEncoder, Tokenizer
from ovps_core.structures.cache_folder import cache_folder

_CACHED_NAMES = 500  # at 160 kB for a bank of 80 prompts
_BETWEEN_SYNONYMS = ", "


class PromptBankEncoder(TextEncoder):
    """Encoder of names into text banks, one normalised embedding for each template.

    A bank is flattened into one row, so that it is a condition like any other. A name with commas ("couch, sofa")
    has synonyms; their embeddings are averaged for each template.

    Args:
        tower: the text tower of a CLIP model.
        tokenizer: its tokeniser.
        templates: number of prompts, the first of CLIP's 80 for ImageNet.
    """

    def __init__(self, tower: nn.Module, tokenizer: Tokenizer, templates: int) -> None:
        super().__init__(tower, tokenizer)
        self.templates = open_clip.OPENAI_IMAGENET_TEMPLATES[:templates]
        self._longest = max(self.templates, key=lambda template: len(template("")))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [N, L] of N prompts -> normalised embeddings float [N, D]; gradients flow."""
        return F.normalize(embed_tokens(self.tower, shortened(tokens)), dim=-1)

    def keep_embeddings(self, digest: str) -> None:
        """See :meth:`TextEncoder.keep_embeddings`; banks have a file of their own, since they are large."""
        self.cache = EmbeddingCache(digest, cache_folder() / "text_banks.sqlite", _CACHED_NAMES)

    def fits(self, text: str) -> bool:
        """Return True if no token of ``text`` is cut off in the longest prompt."""
        return all(
            super(PromptBankEncoder, self).fits(self._longest(name)) for name in synonyms(text)
        )

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Banks float [N, M * D] of N names with M templates, on the tower's device."""
        return torch.stack([self._bank(text).flatten() for text in texts])

    def _bank(self, text: str) -> Tensor:
        device = next(self.tower.parameters()).device
        banks = []
        for name in synonyms(text):
            prompts = [template(name) for template in self.templates]
            banks.append(self(self.tokenizer(prompts).to(device)))
        if len(banks) == 1:
            return banks[0]
        return F.normalize(torch.stack(banks).mean(0), dim=-1)


def synonyms(text: str) -> list[str]:
    """The names that a text lists.

    >>> synonyms("couch, sofa")
    ['couch', 'sofa']
    """
    return [name for name in text.split(_BETWEEN_SYNONYMS) if name] or [text]


def possessive(object_name: str, part: str) -> str:
    """The phrase that stands for a part of an object in prompts.

    >>> possessive("dog", "head")
    "dog's head"
    """
    return f"{object_name}'s {part}"
