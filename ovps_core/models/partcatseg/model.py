"""PartCATSeg (Choi et al., CVPR 2025): cost aggregation for parts of objects.

Two branches. The first refines the similarities of patches with every *name*: generalised parts ("handle"),
objects ("knife"), background. The second refines every (object, part) class ("knife's handle"): its maps of the
part and of the object are projected back to CLIP's space, and compared with the text of the class. Both share
guidance and decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from open_clip.model import CustomTextCLIP
from torch import Tensor, nn

from ovps_core.models.catseg.aggregation import AggregationLayer, CostBranch
from ovps_core.models.catseg.config import CATSegConfig, ClassAttention, catseg_fields
from ovps_core.models.catseg.model import CATSeg, guides, similarities
from ovps_core.models.interface import Conditions, Features, PartLogits
from ovps_core.models.joint_conditions import JointConditions
from ovps_core.models.objects import ObjectPredictions
from ovps_core.models.partcatseg.corrections import Corrections


@dataclass(frozen=True)
class PartCATSegConfig(CATSegConfig):
    """Configuration of a PartCATSeg.

    Attributes:
        corrections: differences of this model from the released one.
    """

    corrections: Corrections = Corrections()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PartCATSegConfig:
        """Read the header of a checkpoint, in which tuples are lists."""
        fields = catseg_fields(values)
        fields["corrections"] = Corrections(**fields["corrections"])
        return cls(**fields)

    @property
    def class_attention(self) -> ClassAttention:
        """See :attr:`CATSegConfig.class_attention`."""
        return "linear" if self.corrections.linear_class_attention else "query"


@dataclass(frozen=True)
class BranchOutputs:
    """Outputs of both branches, and the similarities that they started from.

    Attributes:
        logits: see :class:`PartLogits`.
        name_cost: float [B, C, M, h, w], cosine similarities of patches and names.
        pair_cost: float [B, T, M, h, w], the same of projected maps and (object, part) classes.
    """

    logits: PartLogits
    name_cost: Tensor
    pair_cost: Tensor


class PartCATSeg(CATSeg):
    """CAT-Seg on names, and a second branch for (object, part) classes; the answers of both depend on all rows."""

    config: PartCATSegConfig

    def __init__(self, config: PartCATSegConfig, clip: CustomTextCLIP | None = None) -> None:
        super().__init__(config, clip)
        self.spec = replace(self.spec, answers_object_parts=True)
        guidance = config.guidance_dim if config.guidance else 0
        if config.corrections.separate_aggregation:
            self.spec = replace(self.spec, subgraphs=())  # graphs do not know which names are parts
            self.object_layers = nn.ModuleList(
                AggregationLayer(config, guidance) for _ in range(config.layers)
            )
        self.pair_projection = nn.Conv2d(2 * config.dim, self.text_dim, 1)
        self.pair_branch = CostBranch(config, guidance)
        self.start_from_first_branch()

    def start_from_first_branch(self) -> None:
        """Give the second branch, and the layers of the objects, the weights of the first branch."""
        self.pair_branch.load_state_dict(self.branch.state_dict())
        if self.config.corrections.separate_aggregation:
            self.object_layers.load_state_dict(self.branch.layers.state_dict())

    def decode(
        self, features: Features, conditions: Conditions, objects: ObjectPredictions | None = None
    ) -> PartLogits:
        """Both branches: ``names`` float [B, C, h, w] and ``object_parts`` float [B, T, h, w]."""
        return self.decode_with_costs(features, conditions).logits

    def decode_with_costs(self, features: Features, conditions: Conditions) -> BranchOutputs:
        """Both branches, and the cost volumes that they started from."""
        spatial, *for_decoder = guides(features)
        to_decoder = for_decoder[0], for_decoder[1]
        banks = self.banks(conditions.names)
        cost = similarities(features.levels[0], banks)
        maps = self._name_maps(cost, spatial, self.text_guidance(banks), conditions)
        names = self.decoder(maps, to_decoder)
        if not conditions.object_parts.shape[0]:
            return BranchOutputs(PartLogits.names_only(names), cost, cost[:, :0])
        pair_banks = self.banks(conditions.object_parts)
        pair_cost = similarities(self.projected_pairs(maps, conditions), pair_banks)
        pair_maps = self.pair_branch(pair_cost, spatial, self.text_guidance(pair_banks))
        return BranchOutputs(
            PartLogits(names, self.decoder(pair_maps, to_decoder)), cost, pair_cost
        )

    def projected_pairs(self, maps: Tensor, conditions: Conditions) -> Tensor:
        """Maps of names float [B, C, dim, h, w] -> those of classes in CLIP's space, float [B, T, D, h, w]."""
        pairs = torch.cat([maps[:, conditions.part_index], maps[:, conditions.object_index]], dim=2)
        return self.pair_projection(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2])

    def _name_maps(
        self, cost: Tensor, guidance: Tensor | None, text: Tensor, conditions: Conditions
    ) -> Tensor:
        """Refined maps float [B, C, dim, h, w] of all names.

        With ``separate_aggregation`` parts and other names are refined apart; in the last layer the parts also see
        the other names.
        """
        parts = conditions.num_parts if isinstance(conditions, JointConditions) else 0
        if not parts or not self.config.corrections.separate_aggregation:
            return self.branch(cost, guidance, text)
        maps = self.branch.embedded(cost)
        of_parts, others = maps[:, :parts], maps[:, parts:]
        *early, last = zip(self.branch.layers, self.object_layers, strict=True)
        for part_layer, object_layer in early:
            of_parts = part_layer(of_parts, guidance, text[:parts])
            others = object_layer(others, guidance, text[parts:])
        part_layer, object_layer = last
        of_parts = part_layer(torch.cat([of_parts, others], dim=1), guidance, text)[:, :parts]
        return torch.cat([of_parts, object_layer(others, guidance, text[parts:])], dim=1)

    def object_part_conditions(
        self,
        names: Tensor,
        object_parts: Tensor,
        part_index: Tensor,
        object_index: Tensor,
        *,
        num_parts: int,
    ) -> JointConditions:
        """Conditions of names and (object, part) classes, each with the background as its last row.

        Args:
            names: text banks float [C, M * D] of the parts, then of the objects.
            object_parts: text banks float [T, M * D] of the classes; with T = 0 only the names get a background.
            part_index, object_index: int64 [T], rows of ``names`` with the part and the object of each class.
            num_parts: number of parts among the names.
        """
        row = self.background_row().to(names)
        background = torch.tensor([names.shape[0]], device=names.device)
        names = torch.cat([names, row])
        if not object_parts.shape[0]:
            return JointConditions(names, object_parts, part_index, object_index, num_parts)
        return JointConditions(
            names,
            torch.cat([object_parts, row]),
            torch.cat([part_index, background]),
            torch.cat([object_index, background]),
            num_parts,
        )
