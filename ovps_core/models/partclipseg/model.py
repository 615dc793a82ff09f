"""PartCLIPSeg (Choi et al., NeurIPS 2024): generalised parts with object context.

Two heads on CLIPSeg's decoder. Head A gives a map for every *name*: generalised parts ("handle"), objects
("knife"), background. Head B gives a map for every (object, part) class ("knife", "handle"): the decoder's
tokens of the part and of the object are concatenated, and modulated by their composed embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from open_clip.model import CustomTextCLIP
from torch import Tensor, nn

from ovps_core.models.clipseg.decoder import FiLM, Upsampler, tokens_to_maps
from ovps_core.models.clipseg.model import CLIPSeg, CLIPSegConfig, clipseg_fields
from ovps_core.models.interface import Conditions, Features, PartLogits
from ovps_core.models.objects import ObjectPredictions
from ovps_core.models.partclipseg.corrections import Corrections


@dataclass(frozen=True)
class PartCLIPSegConfig(CLIPSegConfig):
    """Configuration of a PartCLIPSeg.

    Attributes:
        corrections: differences of this model from the released one.
    """

    corrections: Corrections = Corrections()

    @property
    def adapted(self) -> bool:
        """True, also before any training."""
        return True

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PartCLIPSegConfig:
        """Read the header of a checkpoint, in which tuples are lists."""
        fields = clipseg_fields(values)
        fields["corrections"] = Corrections(**fields["corrections"])
        return cls(**fields)


class PartCLIPSeg(CLIPSeg):
    """An adapted CLIPSeg with the object-part head."""

    config: PartCLIPSegConfig

    def __init__(self, config: PartCLIPSegConfig, clip: CustomTextCLIP | None = None) -> None:
        super().__init__(config, clip)
        self.spec = replace(self.spec, answers_object_parts=True)
        dim, condition_dim = config.dim, self.spec.condition_dim
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

    def decode(
        self, features: Features, conditions: Conditions, objects: ObjectPredictions | None = None
    ) -> PartLogits:
        """Both heads: ``names`` float [B, C, h, w] and ``object_parts`` float [B, T, h, w]."""
        return self._heads(features, conditions, keep_attention=False)[0]

    def decode_with_attention(
        self, features: Features, conditions: Conditions
    ) -> tuple[PartLogits, list[Tensor]]:
        """Mask logits, and the attention of each decoder block float [B, C, heads, N, N]."""
        return self._heads(features, conditions, keep_attention=True)

    def _heads(
        self, features: Features, conditions: Conditions, *, keep_attention: bool
    ) -> tuple[PartLogits, list[Tensor]]:
        tokens, attentions = self.decoder(
            features.levels, conditions.names, keep_attention=keep_attention
        )
        grid, prefix = self.backbone.grid(*features.size), self.backbone.prefix
        names = self.upsample(tokens_to_maps(tokens, grid, prefix))
        if not conditions.object_parts.shape[0]:
            return PartLogits.names_only(names), attentions
        joined = torch.cat(
            [tokens[:, conditions.part_index], tokens[:, conditions.object_index]], dim=-1
        )
        modulated = self.pair_film(self.pair_maps(joined), conditions.object_parts)
        object_parts = self.pair_upsample(tokens_to_maps(modulated, grid, prefix))
        return PartLogits(names, object_parts), attentions

    def compose(self, names: Tensor, part_index: Tensor, object_index: Tensor) -> Tensor:
        """Embeddings of (object, part) classes from rows of ``names`` float [C, D]: float [T, D], object first."""
        return self.pair_words(torch.cat([names[object_index], names[part_index]], dim=-1))

    def object_part_conditions(
        self, names: Tensor, part_index: Tensor, object_index: Tensor, *, num_parts: int
    ) -> Conditions:
        """Conditions of names and (object, part) classes, each with the background as its last row.

        Args:
            names: float [P + O, D], embeddings of the parts, then of the objects; gradients flow.
            part_index, object_index: int64 [T], rows of ``names`` with the part and the object of each class.
            num_parts: P.
        """
        background = torch.tensor([names.shape[0]], device=names.device)
        names = self.with_background(names)
        part_rows = torch.cat([part_index, background])
        object_rows = torch.cat([object_index, background])
        word_rows = object_rows
        if not self.config.corrections.object_prompt:  # the release forgets to skip the parts
            word_rows = torch.cat([object_index - num_parts, background])
        return Conditions(names, self.compose(names, part_rows, word_rows), part_rows, object_rows)
