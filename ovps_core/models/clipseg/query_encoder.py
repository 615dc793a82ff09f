"""Query encoder of CLIPSeg: each phrase is one text embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.clipseg.model import CLIPSeg
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    QueryEncoder,
    QueryRows,
    require_accepted,
)
from ovps_core.models.text.literal import read_literally
from ovps_core.models.text.tower import TextEncoder
from ovps_core.structures.query import PartQuery, RefusedQuery


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

    def read(
        self, queries: Sequence[PartQuery]
    ) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
        """See :meth:`QueryEncoder.read`; only texts beyond the text encoder's context are refused."""
        return read_literally(queries, self.text_encoder, lambda query: [_phrase(query)])

    def encode(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """See :meth:`QueryEncoder.encode`."""
        accepted, refused = self.read(queries)
        require_accepted(accepted, refused)
        names = torch.zeros(0, self.condition_dim)
        if accepted:
            names = self.text_encoder.embed([_phrase(query) for query in accepted])
        rows = tuple(QueryRows(names=(row,)) for row in range(len(accepted)))
        return EncodedQueries(accepted, Conditions.names_only(names), rows, refused)


class AdaptedPhraseEncoder(PhraseEncoder):
    """:class:`PhraseEncoder` of a CLIPSeg that was trained on parts, and so has a map for the background.

    Args:
        text_encoder: the text tower of the CLIP model.
        model: holds the background's embedding.
    """

    def __init__(self, text_encoder: TextEncoder, model: CLIPSeg) -> None:
        super().__init__(text_encoder, model.spec.condition_dim)
        self.model = model

    @torch.inference_mode()
    def encode_vocabulary(self, vocabulary: Vocabulary) -> Conditions:
        """(Object, part) classes and the background as names; the model is not asked for other names."""
        names = self.text_encoder.embed(vocabulary.object_part_names)
        return Conditions.names_only(self.model.with_background(names))


def _phrase(query: PartQuery) -> str:
    return f"{query.object} {query.part}".strip()
