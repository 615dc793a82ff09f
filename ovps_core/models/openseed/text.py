"""Text tower of OpenSeeD, and the embedding of a name as the mean over prompt templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import open_clip
import torch
from open_clip.transformer import LayerNorm, QuickGELU, TextTransformer
from torch import Tensor

from ovps_core.models.openseed.config import OpenSeeDConfig
from ovps_core.models.text.causal import embed_tokens, shortened
from ovps_core.models.text.tower import TextEncoder

TEMPLATES: tuple[Callable[[str], str], ...] = (*open_clip.OPENAI_IMAGENET_TEMPLATES, "{}.".format)
"""CLIP's 80 templates for ImageNet, and the name alone."""
_SUFFIXES = ("-other", "-merged", "-stuff")  # of COCO's stuff classes
_MIN_NORM = 1e-7


def plain_name(name: str) -> str:
    """A class name of a data set without the suffixes of COCO's stuff classes.

    >>> plain_name("wall-other-merged")
    'wall'
    """
    for suffix in _SUFFIXES:
        name = name.replace(suffix, "")
    return name


class TextTower(TextTransformer):
    """CLIP's text tower, for token rows of any length up to the context."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [N, L] -> float [N, D], read at the end of each text."""
        return embed_tokens(self, tokens)


def build_text_tower(config: OpenSeeDConfig) -> TextTower:
    """Text tower with random weights: tokens int64 [N, L] -> float [N, D].

    It is CLIP's with a smaller constant in its normalisations, trained together with the rest of OpenSeeD.
    """
    text = config.text
    return TextTower(
        context_length=text.context_length,
        vocab_size=text.vocab_size,
        width=text.width,
        heads=text.heads,
        layers=text.layers,
        output_dim=config.text_dim,
        act_layer=QuickGELU,
        norm_layer=partial(LayerNorm, eps=1e-12),
    )


class NameEncoder(TextEncoder):
    """Encoder of names: the normalised mean of the normalised embeddings of all prompts with the name.

    ``embed`` caches one vector per name, so the templates cost time once.
    """

    @cached_property
    def _longest_start(self) -> str:
        """The most tokens that a template has before the name."""
        starts = [template("|").partition("|")[0] for template in TEMPLATES]
        return starts[int(self.tokenizer(starts).argmax(-1).argmax())]

    def fits(self, text: str) -> bool:
        """Return True if every prompt is read to the end of the name; the full stop behind it may be cut off."""
        return super().fits(self._longest_start + plain_name(text))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [N, L] -> normalised embeddings float [N, D]; gradients flow."""
        return _normalised(super().forward(tokens))

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Normalised embeddings float [N, D] of N prompts; gradients flow."""
        tokens = shortened(self.tokenizer(list(prompts)))
        return self(tokens.to(next(self.tower.parameters()).device))

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings float [N, D] of N names, each the mean over :data:`TEMPLATES`."""
        rows = []
        for name in map(plain_name, texts):
            prompts = self.encode_prompts([template(name) for template in TEMPLATES])
            rows.append(_normalised(prompts.mean(0)))
        return torch.stack(rows)


def _normalised(vectors: Tensor) -> Tensor:
    return vectors / (vectors.norm(dim=-1, keepdim=True) + _MIN_NORM)
