"""Query encoder of CAT-Seg: each phrase is one text bank, and the background is the last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.catseg.model import CATSeg
from ovps_core.models.catseg.text import PromptBankEncoder, possessive
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    QueryEncoder,
    QueryRows,
    require_accepted,
)
from ovps_core.models.joint_conditions import MAX_JOINT_ROWS, refuse_beyond
from ovps_core.models.text.literal import read_literally
from ovps_core.structures.query import PartQuery, RefusedQuery


class JointPhraseEncoder(QueryEncoder):
    """Encoder with one class per query, "knife's handle" or a single name. Any words are accepted.

    Args:
        text_encoder: encodes the phrases.
        model: holds the background's embedding.
    """

    text_encoder: PromptBankEncoder

    def __init__(self, text_encoder: PromptBankEncoder, model: CATSeg) -> None:
        self.text_encoder = text_encoder
        self.model = model

    def read(
        self, queries: Sequence[PartQuery]
    ) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
        """See :meth:`QueryEncoder.read`; refused are long names, and queries beyond the most rows of one call."""
        queries, too_long = read_literally(queries, self.text_encoder, lambda q: [_phrase(q)])
        queries, too_many = refuse_beyond(MAX_JOINT_ROWS - 1, queries, self.num_rows)
        return queries, (*too_long, *too_many)

    def num_rows(self, queries: Sequence[PartQuery]) -> int:
        """Number of rows that queries need together, without the background."""
        return len(set(map(_phrase, queries)))

    @torch.inference_mode()
    def encode(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """See :meth:`QueryEncoder.encode`."""
        queries, refused = self.read(queries)
        require_accepted(queries, refused)
        phrases = list(dict.fromkeys(map(_phrase, queries)))
        rows = tuple(QueryRows(names=(phrases.index(_phrase(query)),)) for query in queries)
        return EncodedQueries(queries, self.model.conditions(self.banks(phrases)), rows, refused)

    @torch.inference_mode()
    def encode_vocabulary(self, vocabulary: Vocabulary) -> Conditions:
        """(Object, part) classes and the background as names; the model has no maps for other names."""
        phrases = [possessive(*pair) for pair in vocabulary.object_parts]
        return self.model.conditions(self.banks(phrases))

    def banks(self, texts: Sequence[str]) -> Tensor:
        """Text banks float [N, M * D] of N texts with M prompts each, on the model's device."""
        none = self.model.background_row()[:0]
        return self.text_encoder.embed(texts).to(none.device) if texts else none


def _phrase(query: PartQuery) -> str:
    if query.object and query.part:
        return possessive(query.object, query.part)
    return query.object or query.part
