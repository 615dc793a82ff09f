"""SAM 3 (Carion et al., 2025) and its variants in transformers: all instances of what a short phrase names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ovps_core.errors import UsageError
from ovps_core.models.interface import (
    Conditions,
    Features,
    ModelSpec,
    PartLogits,
    Preprocessing,
)
from ovps_core.models.layers.boxes import centres_and_sizes
from ovps_core.models.objects import ObjectModel, ObjectPredictions, ObjectQueries
from ovps_core.models.prompted.config import PromptedConfig
from ovps_core.models.prompted.model import PromptedModel
from ovps_core.models.prompted.prompts import Prompts, PromptTower

if TYPE_CHECKING:
    from transformers import Sam3LiteTextModel, Sam3Model

CONTEXT_LENGTH = 32  # tokens to which transformers' Sam3Processor pads every prompt
# A prompt takes about 0.4 GB at full size: its mask features have 288 x 288 cells.
_PROMPTS_PER_PASS = 4
# Of a prompt, those that are told apart; the network has 200, most of them with scores near 0.
_MAX_INSTANCES = 50
_EPS = 1e-6  # keeps the log-odds of scores within +-14


@dataclass(frozen=True)
class Instances:
    """Instances found for each prompt, most of them with a low score.

    Attributes:
        scores: float [P, N], 0..1: the query's own score times the probability that the image shows the prompt.
        boxes_xyxy: float [P, N, 4], (x1, y1, x2, y2) in 0..1 of the pixels.
        mask_logits: float [P, N, h, w].
    """

    scores: Tensor
    boxes_xyxy: Tensor
    mask_logits: Tensor


class Sam3(PromptedModel, ObjectModel):
    """A SAM 3 of transformers: each phrase is one prompt and one condition.

    Args:
        network: ``Sam3Model`` or ``Sam3LiteTextModel``.
        preprocessing: conversion of images that the weights were trained with.
        config: what the network is.
    """

    context_length = CONTEXT_LENGTH

    def __init__(
        self,
        network: Sam3Model | Sam3LiteTextModel,
        preprocessing: Preprocessing,
        config: PromptedConfig,
    ) -> None:
        super().__init__(network, preprocessing, config)
        vision: Any = network.config.vision_config
        width = network.text_projection.out_features
        stride = vision.backbone_config.patch_size / max(vision.scale_factors)
        self.mask_embedding_dim = math.prod(round(side / stride) for side in preprocessing.size)
        self.spec = ModelSpec(
            preprocessing=preprocessing,
            condition_dim=CONTEXT_LENGTH * (width + 1),
            safe_in_half_precision=False,
            detects_objects=True,
            subgraphs=(),
        )

    def text_tower(self, padding_token: int) -> PromptTower:
        """See :meth:`PromptedModel.text_tower`; a condition holds one vector per token."""
        return PromptTower(self.network, padding_token)

    def encode(self, pixels: Tensor) -> Features:
        """Pixels float [B, 3, H, W] -> maps of the vision encoder, once per image.

        The levels are the feature maps, fine to coarse, and last the position encoding that the decoder reads.
        """
        height, width = pixels.shape[-2:]
        vision = self.network.get_vision_features(pixel_values=pixels)
        # The network leaves the coarsest map out, and reads only the position encoding of the one before it.
        levels = (*vision.fpn_hidden_states, vision.fpn_position_encoding[-2])
        return Features(levels, (height, width))

    def decode(
        self, features: Features, conditions: Conditions, objects: ObjectPredictions | None = None
    ) -> PartLogits:
        """One map per prompt: ``names`` float [B, C, h, w], the union of its instances.

        A pixel's logit is the highest over the instances of the smaller of two: the log-odds of the instance's
        score, and the logit of its mask. It is positive where an instance with a score above 0.5 has its mask.
        """
        prompts = Prompts.from_conditions(conditions.names, CONTEXT_LENGTH)
        maps = [
            torch.cat([_union(found) for found in self.instances(features, image, prompts)])
            for image in range(features.levels[0].shape[0])
        ]
        return PartLogits.names_only(torch.stack(maps))

    def find_queries(self, features: Features, names: Tensor) -> ObjectQueries:
        """Instances of each prompt, of rows float [K, D]; those of another prompt have score 0 for it.

        The network makes masks from the image and the prompt together, so the mask embedding of an instance is its
        mask.
        """
        prompts = Prompts.from_conditions(names, CONTEXT_LENGTH)
        batch = [
            _joined([_best(some) for some in self.instances(features, image, prompts)])
            for image in range(features.levels[0].shape[0])
        ]
        own = torch.eye(len(prompts), device=names.device)[:, None]
        scores = torch.stack([found.scores[..., None] * own for found in batch])
        boxes = torch.stack([centres_and_sizes(found.boxes_xyxy) for found in batch])
        masks = torch.stack([found.mask_logits.flatten(2) for found in batch])
        return ObjectQueries(boxes.flatten(1, 2), scores.flatten(1, 2), masks.flatten(1, 2))

    def mask_logits(self, features: Features, mask_embeddings: Tensor) -> Tensor:
        """Mask logits float [B, N, h, w] at the size of the finest map of the image."""
        return mask_embeddings.unflatten(2, features.levels[0].shape[-2:])

    def embed_boxes(self, features: Features, boxes: Tensor, names: Tensor) -> Tensor:
        """Raise UsageError: SAM 3 takes a box as an example of what to find, not as the place to look at."""
        raise UsageError(
            "a SAM 3 does not decode the mask of a given box; ask it for the name, or use an OpenSeeD"
        )

    def instances(self, features: Features, image: int, prompts: Prompts) -> Iterator[Instances]:
        """Instances of every prompt in one image of the batch, a few prompts at a time to bound the memory."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        for start in range(0, len(prompts), _PROMPTS_PER_PASS):
            some = prompts[start : start + _PROMPTS_PER_PASS]
            *maps, position = (
                level[image : image + 1].expand(len(some), -1, -1, -1) for level in features.levels
            )
            vision = Sam3VisionEncoderOutput(
                fpn_hidden_states=tuple(maps), fpn_position_encoding=(position, position)
            )
            found = self.network(
                vision_embeds=vision,
                text_embeds=BaseModelOutputWithPooling(pooler_output=some.embeddings),
                attention_mask=some.valid,
            )
            scores = found.pred_logits.float().sigmoid() * found.presence_logits.float().sigmoid()
            yield Instances(scores, found.pred_boxes.float(), found.pred_masks.float())


def _best(found: Instances) -> Instances:
    """The instances of each prompt with the highest scores."""
    count = min(_MAX_INSTANCES, found.scores.shape[1])
    scores, queries = found.scores.topk(count)
    prompt = torch.arange(len(scores), device=scores.device)[:, None]
    return Instances(scores, found.boxes_xyxy[prompt, queries], found.mask_logits[prompt, queries])


def _joined(passes: Sequence[Instances]) -> Instances:
    return Instances(
        torch.cat([found.scores for found in passes]),
        torch.cat([found.boxes_xyxy for found in passes]),
        torch.cat([found.mask_logits for found in passes]),
    )


def _union(found: Instances) -> Tensor:
    """Map float [P, h, w] of each prompt, see :meth:`Sam3.decode`."""
    present = found.scores.logit(eps=_EPS)[:, :, None, None]
    return torch.minimum(found.mask_logits, present).amax(1)
