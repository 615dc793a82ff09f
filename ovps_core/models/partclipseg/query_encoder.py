"""Query encoder of PartCLIPSeg: parts and objects as names, and (object, part) classes composed of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    QueryEncoder,
    QueryRows,
    require_accepted,
)
from ovps_core.models.partclipseg.model import PartCLIPSeg
from ovps_core.models.text.literal import read_literally
from ovps_core.models.text.tower import TextEncoder
from ovps_core.structures.query import PartQuery, RefusedQuery


class ObjectPartEncoder(QueryEncoder):
    """Encoder that answers a part of an object by its class, inside the object's map, and other queries by a name.

    Args:
        text_encoder: the text tower of the CLIP model.
        model: composes the embeddings of (object, part) classes with its own weights.
    """

    text_encoder: TextEncoder

    def __init__(self, text_encoder: TextEncoder, model: PartCLIPSeg) -> None:
        self.text_encoder = text_encoder
        self.model = model

    def read(
        self, queries: Sequence[PartQuery]
    ) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
        """See :meth:`QueryEncoder.read`; only names beyond the text encoder's context are refused."""
        return read_literally(
            queries, self.text_encoder, lambda query: filter(None, (query.object, query.part))
        )

    @torch.inference_mode()
    def encode(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """See :meth:`QueryEncoder.encode`."""
        queries, refused = self.read(queries)
        require_accepted(queries, refused)
        names = list(dict.fromkeys(name for q in queries for name in (q.object, q.part) if name))
        object_parts = list(
            dict.fromkeys((q.object, q.part) for q in queries if q.object and q.part)
        )
        composed_with = [self._prompt_of_object(name) for name, _ in object_parts]
        words = list(dict.fromkeys([*names, *composed_with]))
        row = {word: i for i, word in enumerate(words)}
        class_row = {pair: i for i, pair in enumerate(object_parts)}
        query_rows = []
        for query in queries:
            if query.object and query.part:
                answer = class_row[query.object, query.part]
                query_rows.append(QueryRows(names=(row[query.object],), object_parts=(answer,)))
            else:
                query_rows.append(QueryRows(names=(row[query.object or query.part],)))
        device = self.model.background.device
        embedded = self.model.background[:0]
        if words:
            embedded = self.text_encoder.embed(words).to(device)

        def index(wanted: Iterable[str]) -> Tensor:
            return torch.tensor([row[word] for word in wanted], dtype=torch.int64, device=device)

        part_index = index(part for _, part in object_parts)
        conditions = Conditions(
            embedded[: len(names)],
            self.model.compose(embedded, part_index, index(composed_with)),
            part_index,
            index(name for name, _ in object_parts),
        )
        return EncodedQueries(queries, conditions, tuple(query_rows), refused)

    @torch.inference_mode()
    def encode_vocabulary(self, vocabulary: Vocabulary) -> Conditions:
        """See :meth:`QueryEncoder.encode_vocabulary`."""
        device = self.model.background.device
        num_parts = len(vocabulary.parts)
        words = [*vocabulary.parts, *vocabulary.objects_with_parts]
        return self.model.object_part_conditions(
            self.text_encoder.embed(words).to(device),
            torch.as_tensor(vocabulary.part_index, device=device),
            torch.as_tensor(num_parts + vocabulary.object_index, device=device),
            num_parts=num_parts,
        )

    def _prompt_of_object(self, object_name: str) -> str:
        """The word whose embedding represents an object in an (object, part) class.

        By an index slip, a released checkpoint was trained with the prompt at the object's position among all
        names, of which the parts come first (:attr:`Corrections.object_prompt`). An object outside the vocabulary
        keeps its own name.
        """
        config = self.model.config
        if config.corrections.object_prompt:
            return object_name
        parts = sorted({part for _, part in config.trained_object_parts})
        objects = sorted({name for name, _ in config.trained_object_parts})
        return (
            [*parts, *objects][objects.index(object_name)]
            if object_name in objects
            else object_name
        )
