"""Query encoder of PartCATSeg: text banks of parts, objects and (object, part) classes, and of the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.catseg.query_encoder import JointPhraseEncoder
from ovps_core.models.catseg.text import possessive
from ovps_core.models.interface import EncodedQueries, QueryRows, require_accepted
from ovps_core.models.joint_conditions import JointConditions
from ovps_core.models.partcatseg.model import PartCATSeg
from ovps_core.structures.query import PartQuery


@dataclass(frozen=True)
class JointNames:
    """Names that a model compares with each other.

    Attributes:
        parts: generalised parts ("handle").
        objects: objects ("knife").
        pairs: (object, part) classes; their names are among both.
    """

    parts: tuple[str, ...]
    objects: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, queries: Sequence[PartQuery]) -> JointNames:
        """The names that queries need, each once."""
        pairs = dict.fromkeys((q.object, q.part) for q in queries if q.object and q.part)
        return cls(
            tuple(dict.fromkeys(q.part for q in queries if q.part)),
            tuple(dict.fromkeys(q.object for q in queries if q.object)),
            tuple(pairs),
        )

    @property
    def rows(self) -> int:
        """Rows of the larger of both lists of conditions, without the background."""
        return max(len(self.parts) + len(self.objects), len(self.pairs))


class PairBankEncoder(JointPhraseEncoder):
    """Encoder that answers a part of an object by its class, inside the object's map, and other queries by a name.

    Args:
        text_encoder: encodes the names.
        model: holds the background's embedding.
    """

    model: PartCATSeg

    def num_rows(self, queries: Sequence[PartQuery]) -> int:
        """See :meth:`JointPhraseEncoder.num_rows`."""
        return JointNames.of(queries).rows

    @torch.inference_mode()
    def encode(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """See :meth:`QueryEncoder.encode`."""
        queries, refused = self.read(queries)
        require_accepted(queries, refused)
        names = JointNames.of(queries)
        rows = []
        for query in queries:
            if query.object:
                row = len(names.parts) + names.objects.index(query.object)
            else:
                row = names.parts.index(query.part)
            pair = query.object, query.part
            classes = (names.pairs.index(pair),) if all(pair) else ()
            rows.append(QueryRows(names=(row,), object_parts=classes))
        return EncodedQueries(queries, self.conditions(names), tuple(rows), refused)

    @torch.inference_mode()
    def encode_vocabulary(self, vocabulary: Vocabulary) -> JointConditions:
        """See :meth:`QueryEncoder.encode_vocabulary`."""
        names = JointNames(vocabulary.parts, vocabulary.objects_with_parts, vocabulary.object_parts)
        return self.conditions(names)

    def conditions(self, names: JointNames) -> JointConditions:
        """Text banks of names, with the background."""
        device = self.model.background.device
        return self.model.object_part_conditions(
            self.banks([*names.parts, *names.objects]),
            self.banks([possessive(*pair) for pair in names.pairs]),
            torch.tensor(
                [names.parts.index(part) for _, part in names.pairs], device=device
            ).long(),
            torch.tensor(
                [len(names.parts) + names.objects.index(name) for name, _ in names.pairs],
                device=device,
            ).long(),
            num_parts=len(names.parts),
        )
