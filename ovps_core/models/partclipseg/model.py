"""PartCLIPSeg (NeurIPS 2024): parts as things shared between objects, sharpened by their object.

Two heads on CLIPSeg's decoder. Head A gives a map for every *name*: generalised parts ("handle"), objects
("knife"), background. Head B gives a map for every *pair* ("knife", "handle"): the decoder's maps of the part and
of the object are joined, and modulated by their joined words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ovps_core.models.clipseg.decoder import FiLM, Upsampler, VisualAdapter, tokens_to_maps
from ovps_core.models.clipseg.model import CLIPSeg, CLIPSegConfig
from ovps_core.models.interface import Conditions, EncodedQueries, Features, PartLogits, QueryRows
from ovps_core.models.partclipseg.corrections import Corrections
from ovps_core.structures.query import PartQuery

if TYPE_CHECKING:
    from ovps_core.language.vocabulary import Vocabulary


@dataclass(frozen=True)
class PartCLIPSegConfig(CLIPSegConfig):
    """Every number of a PartCLIPSeg.

    Attributes:
        corrections: where this model differs from the released one.
        trained_pairs: the (object, part) vocabulary the weights were trained on, in its order.
    """

    corrections: Corrections = Corrections()
    trained_pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PartCLIPSegConfig:
        """From the header of a checkpoint, where tuples have become lists."""
        return cls(
            **{
                **values,
                "taps": tuple(values["taps"]),
                "corrections": Corrections(**values["corrections"]),
                "trained_pairs": tuple((name, part) for name, part in values["trained_pairs"]),
            }
        )


class PartCLIPSeg(CLIPSeg):
    """CLIPSeg with an adapter on its image tokens, a background condition, and the object-part head."""

    config: PartCLIPSegConfig
    answers_object_parts = True

    def __init__(self, config: PartCLIPSegConfig) -> None:
        super().__init__(config)
        widths = set(self.backbone.widths)
        # One adapter serves all taps; a pyramid's stages share no width.
        self.adapter = VisualAdapter(widths.pop()) if len(widths) == 1 else nn.Identity()
        dim, condition_dim = config.dim, self.condition_dim
        self.background: Tensor  # random, never trained, as released
        self.register_buffer("background", torch.randn(1, condition_dim) * condition_dim**-0.5)
        self.pair_maps = nn.Linear(2 * dim, dim)
        self.pair_words = nn.Linear(2 * condition_dim, condition_dim)
        nn.init.zeros_(self.pair_maps.bias)
        nn.init.zeros_(self.pair_words.bias)
        self.pair_film = FiLM(condition_dim, dim)
        self.pair_upsample = Upsampler(dim, self.backbone.stride, config.refined_upsampling)
        self.start_pair_head()

    def start_pair_head(self) -> None:
        """Give the object-part head the first head's modulation and upsampler, as training starts."""
        self.pair_film.load_state_dict(self.decoder.film.state_dict())
        self.pair_upsample.load_state_dict(self.upsample.state_dict())

    def encode(self, pixels: Tensor) -> Features:
        """Pixels float [B, 3, H, W] -> adapted and reduced tokens of the tapped layers."""
        taps = [self.adapter(tap) for tap in self.backbone(pixels)]
        height, width = pixels.shape[-2:]
        return Features(self.decoder.reduce(taps), (height, width))

    def decode(self, features: Features, conditions: Conditions) -> PartLogits:
        """Both heads: ``names`` float [B, C, h, w] and ``pairs`` float [B, T, h, w]."""
        return self._heads(features, conditions, keep_attention=False)[0]

    def decode_with_attention(
        self, features: Features, conditions: Conditions
    ) -> tuple[PartLogits, list[Tensor]]:
        """Also the attention of each decoder block, float [B, C, heads, N, N], for losses on it."""
        return self._heads(features, conditions, keep_attention=True)

    def _heads(
        self, features: Features, conditions: Conditions, *, keep_attention: bool
    ) -> tuple[PartLogits, list[Tensor]]:
        tokens, attentions = self.decoder(
            features.levels, conditions.names, keep_attention=keep_attention
        )
        grid, prefix = self.backbone.grid(*features.size), self.backbone.prefix
        names = self.upsample(tokens_to_maps(tokens, grid, prefix))
        if not conditions.pairs.shape[0]:
            return PartLogits(names, names[:, :0]), attentions
        joined = torch.cat(
            [tokens[:, conditions.part_index], tokens[:, conditions.object_index]], dim=-1
        )
        modulated = self.pair_film(self.pair_maps(joined), conditions.pairs)
        pairs = self.pair_upsample(tokens_to_maps(modulated, grid, prefix))
        return PartLogits(names, pairs), attentions

    def compose(self, names: Tensor, part_index: Tensor, object_index: Tensor) -> Tensor:
        """Join the words of pairs: rows of ``names`` float [C, D] -> float [T, D]; object first."""
        return self.pair_words(torch.cat([names[object_index], names[part_index]], dim=-1))

    def conditions(
        self, names: Tensor, part_index: Tensor, object_index: Tensor, *, num_parts: int
    ) -> Conditions:
        """Encoded names and pairs, each with the background as its last row.

        Args:
            names: float [P + O, D], the parts' embeddings, then the objects'; gradients flow.
            part_index: int64 [T], position of each pair's part among the parts.
            object_index: int64 [T], position of each pair's object among the objects.
            num_parts: P.
        """
        background = torch.tensor([names.shape[0]], device=names.device)
        names = torch.cat([names, self.background.to(names.dtype)])
        part_rows = torch.cat([part_index, background])
        object_rows = torch.cat([num_parts + object_index, background])
        word_rows = object_rows
        if not self.config.corrections.object_prompt:  # the release forgets to skip the parts
            word_rows = torch.cat([object_index, background])
        return Conditions(names, self.compose(names, part_rows, word_rows), part_rows, object_rows)

    @torch.inference_mode()
    def vocabulary_conditions(self, vocabulary: Vocabulary) -> Conditions:
        """All parts, objects and pairs of a benchmark, in the order that its protocols read."""
        device = self.background.device
        names = self.text.embed([*vocabulary.parts, *vocabulary.objects_with_parts]).to(device)
        part_index = torch.as_tensor(vocabulary.part_index, device=device)
        object_index = torch.as_tensor(vocabulary.object_index, device=device)
        return self.conditions(names, part_index, object_index, num_parts=len(vocabulary.parts))

    @torch.inference_mode()
    def plan(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """Parts of an object ask head B inside head A's map of the object; the rest asks head A."""
        device = self.background.device
        names = list(dict.fromkeys(name for q in queries for name in (q.object, q.part) if name))
        pairs = list(dict.fromkeys((q.object, q.part) for q in queries if q.object and q.part))
        stand_ins = (self._stand_in(object) for object, _ in pairs)
        words = list(dict.fromkeys([*names, *stand_ins]))
        embedded = self.text.embed(words).to(device) if words else self.background[:0]
        row = {word: i for i, word in enumerate(words)}
        pair_row = {pair: i for i, pair in enumerate(pairs)}

        def rows(wanted: Iterable[str]) -> Tensor:
            return torch.tensor([row[word] for word in wanted], dtype=torch.int64, device=device)

        part_rows = rows(part for _, part in pairs)
        object_rows = rows(object for object, _ in pairs)
        word_rows = rows(self._stand_in(object) for object, _ in pairs)
        query_rows = []
        for query in queries:
            if query.object and query.part:
                pair = pair_row[query.object, query.part]
                query_rows.append(QueryRows(names=(row[query.object],), pairs=(pair,)))
            else:
                query_rows.append(QueryRows(names=(row[query.object or query.part],)))
        conditions = Conditions(
            embedded[: len(names)],
            self.compose(embedded, part_rows, word_rows),
            part_rows,
            object_rows,
        )
        return EncodedQueries(tuple(queries), conditions, tuple(query_rows))

    def _stand_in(self, object: str) -> str:
        """The word that stands for an object in a pair.

        A released checkpoint learned to read, in place of the object's own prompt, the part prompt at the
        object's position in its vocabulary; an object it never saw keeps its own.
        """
        if self.config.corrections.object_prompt:
            return object
        parts = sorted({part for _, part in self.config.trained_pairs})
        objects = sorted({name for name, _ in self.config.trained_pairs})
        return parts[objects.index(object)] if object in objects else object
