"""Query encoder of CLIPSeg: each phrase is one text embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovps_core.models.interface import Conditions, EncodedQueries, QueryEncoder, QueryRows
from ovps_core.models.text.tower import TextEncoder
from ovps_core.structures.query import PartQuery


class PhraseEncoder(QueryEncoder):
    """Encoder with one condition per query: object and part as one phrase. Any words are accepted.

    Args:
        text_encoder: the text tower of the CLIP model.
        condition_dim: D of its embeddings.
    """

    text_encoder: TextEncoder

    def __init__(self, text_encoder: TextEncoder, condition_dim: int) -> None:
        self.text_encoder = text_encoder
        self.condition_dim = condition_dim

    def encode(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """See :meth:`QueryEncoder.encode`; nothing is refused."""
        phrases = [f"{query.object} {query.part}".strip() for query in queries]
        names = torch.zeros(0, self.condition_dim)
        if phrases:
            names = self.text_encoder.embed(phrases)
        rows = tuple(QueryRows(names=(row,)) for row in range(len(phrases)))
        return EncodedQueries(tuple(queries), Conditions.names_only(names), rows)
