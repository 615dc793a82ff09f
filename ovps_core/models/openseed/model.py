"""OpenSeeD (Zhang et al., ICCV 2023): one model for detection and segmentation of whatever words name.

Names select queries from the image, a decoder refines them, and each query gets scores by its similarity to the
names, a box and a mask. The variant "decouple" has learned queries for stuff (sky, grass) beside those for things.
A mask can also be decoded from a name and a box (:meth:`OpenSeeD.decode_masks`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ovps_core.models.backbones.swin import SwinPyramid
from ovps_core.models.backbones.timm_pyramid import TimmPyramid
from ovps_core.models.interface import (
    CanvasSpec,
    Conditions,
    Features,
    ModelSpec,
    PartLogits,
    Preprocessing,
)
from ovps_core.models.objects import (
    OBJECT_SUBGRAPHS,
    ObjectModel,
    ObjectPredictions,
    ObjectQueries,
)
from ovps_core.models.openseed.config import OpenSeeDConfig
from ovps_core.models.openseed.decoder import LayerOutput, QueryDecoder, group_mask
from ovps_core.models.openseed.denoising import DenoisingQueries
from ovps_core.models.openseed.heads import PredictionHeads, Predictions, mask_logits
from ovps_core.models.openseed.pixel_encoder import PixelEncoder
from ovps_core.models.openseed.query_selection import (
    Memory,
    Queries,
    QuerySelection,
    Selection,
    anchors_of,
)

STRIDE = 32  # sides of the pixels must be divisible by it


@dataclass(frozen=True)
class TrainingPredictions:
    """Everything that the losses compare with the ground truth.

    Attributes:
        layers: predictions of the decoder's input queries and of each layer; the last one is the answer.
        intermediate: predictions of the selected queries, with gradient into the selection.
        denoising: predictions of the denoising queries of each layer; empty without them.
        object_queries: number of queries selected from the image; those for stuff stand behind them.
    """

    layers: tuple[Predictions, ...]
    intermediate: Predictions
    denoising: tuple[Predictions, ...]
    object_queries: int


class OpenSeeD(ObjectModel):
    """OpenSeeD; names are normalised embeddings of the text tower, which is not part of this module.

    Args:
        config: sizes.
        drop_path: highest rate of stochastic depth of the backbone in training.
    """

    config: OpenSeeDConfig

    def __init__(self, config: OpenSeeDConfig, drop_path: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.mask_embedding_dim = config.dim
        side = config.short_side // STRIDE * STRIDE
        self.spec = ModelSpec(
            preprocessing=Preprocessing(size=(side, side)),
            condition_dim=config.text_dim,
            safe_in_half_precision=False,
            detects_objects=True,
            canvas=CanvasSpec(config.short_side, config.max_side, STRIDE),
            stuff_queries=config.stuff_queries,
            max_instances=config.max_instances,
            subgraphs=OBJECT_SUBGRAPHS,
        )
        self.backbone = _build_backbone(config, drop_path)
        self.pixel_encoder = PixelEncoder(config, self.backbone.widths)
        self.selection = QuerySelection(config)
        self.heads = PredictionHeads(config)
        self.decoder = QueryDecoder(config)
        self.name_to_query = nn.Parameter(torch.randn(config.text_dim, config.dim) * 0.02)
        if config.stuff_queries:
            self.stuff_contents = nn.Parameter(torch.randn(config.stuff_queries, config.dim))
            self.stuff_anchors = nn.Parameter(torch.randn(config.stuff_queries, 4))

    def encode(self, pixels: Tensor) -> Features:
        """Pixels float [B, 3, H, W], sides divisible by 32 -> features, once per image.

        The levels are those of the pixel encoder, fine to coarse, then the mask features, each float
        [B, dim, h, w], and last the values of the decoder for each level.
        """
        height, width = pixels.shape[-2:]
        levels, mask_features = self.pixel_encoder(self.backbone(pixels))
        return Features((*levels, mask_features, *self.decoder.project(levels)), (height, width))

    def memory(self, features: Features) -> Memory:
        """The levels and values of features, in the order of the decoder."""
        levels = self.config.levels
        return Memory.from_levels(features.levels[:levels], features.levels[levels + 1 :])

    def mask_features(self, features: Features) -> Tensor:
        """The features that masks are products with, float [B, dim, h, w] at stride 4."""
        return features.levels[self.config.levels]

    def find_queries(self, features: Features, names: Tensor) -> ObjectQueries:
        """All queries for normalised names float [K, D]; most have low scores for every name."""
        memory = self.memory(features)
        queries = self._with_stuff(self.select(memory, names).queries)
        last = self.decoder(queries, memory, self.heads)[-1]
        found = self.heads(last.queries, last.boxes, names, None)
        return ObjectQueries(
            found.boxes_cxcywh,
            found.class_logits.sigmoid(),
            self.heads.mask_embeddings(last.queries),
            queries.contents.shape[1] - self.spec.stuff_queries,
        )

    def mask_logits(self, features: Features, mask_embeddings: Tensor) -> Tensor:
        """Mask logits float [B, N, h, w] at stride 4."""
        return mask_logits(mask_embeddings, self.mask_features(features))

    def embed_boxes(self, features: Features, boxes: Tensor, names: Tensor) -> Tensor:
        """Mask embeddings of known boxes with known names ("conditioned mask decoding" of the paper).

        The released code has no such function. This one reads the released weights' denoising path, which was
        trained with noisy boxes of the ground truth: :mod:`ovps_core.models.openseed.denoising`. The boxes of one
        call see each other in the decoder's self-attention, as the objects of an image do.

        Args:
            features: of :meth:`encode`.
            boxes: float [B, N, 4], (cx, cy, w, h) in 0..1 of the pixels.
            names: float [B, N, D], the normalised embedding of each box's name.
        """
        return self.heads.mask_embeddings(self._conditioned(features, boxes, names).queries)

    def decode_conditioned(
        self,
        features: Features,
        boxes: Tensor,
        names: Tensor,
        scored_names: Tensor,
        groups: int = 1,
    ) -> Predictions:
        """:meth:`decode_masks` with refined boxes, and scores of the names ``scored_names`` float [K, D].

        The N boxes are divided into ``groups`` of equal size that do not see each other.
        """
        last = self._conditioned(features, boxes, names, groups)
        return self.heads(last.queries, last.boxes, scored_names, self.mask_features(features))

    def _conditioned(
        self, features: Features, boxes: Tensor, names: Tensor, groups: int = 1
    ) -> LayerOutput:
        """The last layer's output for queries of known boxes and names."""
        queries = Queries(names @ self.name_to_query, anchors_of(boxes))
        blocked = None
        if groups > 1:
            blocked = group_mask(groups, boxes.shape[1] // groups, 0, boxes.device)
        return self.decoder(queries, self.memory(features), self.heads, blocked)[-1]

    def decode(
        self, features: Features, conditions: Conditions, objects: ObjectPredictions | None = None
    ) -> PartLogits:
        """Mask logits of every name.

        Without objects, ``names`` float [B, C, h, w] has the union of a name's instances: the probability of a
        pixel is the highest product of score and mask probability of any query. With objects, ``object_parts``
        float [B, C * N, h, w] has each name decoded inside each box, name after name, and ``names`` is empty.
        """
        names = conditions.names
        if objects is None:
            return PartLogits.names_only(self.detect(features, names).union_logits())
        boxes, count = objects.boxes_cxcywh, objects.boxes_cxcywh.shape[1]
        masks = self.decode_conditioned(
            features,
            boxes.repeat(1, len(names), 1),
            names.repeat_interleave(count, 0).expand(boxes.shape[0], -1, -1),
            names[:1],
            groups=len(names),
        ).mask_logits
        assert masks is not None
        instance = torch.arange(count, device=boxes.device).repeat(len(names))
        return PartLogits(masks[:, :0], masks, instance)

    def predict_layers(
        self, features: Features, names: Tensor, denoising: DenoisingQueries | None = None
    ) -> TrainingPredictions:
        """Predictions of every layer, for training.

        Args:
            features: of :meth:`encode`.
            names: float [K, D], normalised; gradients flow.
            denoising: queries made from the ground truth.
        """
        memory, mask_features = self.memory(features), self.mask_features(features)
        from_image = self.select(memory, names).queries
        selected = self._with_stuff(from_image)
        intermediate = self.heads(
            selected.contents, selected.anchors.sigmoid(), names, mask_features
        )
        queries, blocked, padding = self._with_stuff(from_image.detached()), None, 0
        if not self.config.corrections.trained_stuff_queries:
            queries = queries.detached()
        if denoising is not None:
            contents = denoising.contents(names @ self.name_to_query)
            padding, others = contents.shape[1], queries.contents.shape[1]
            blocked = group_mask(denoising.groups, denoising.group_size, others, contents.device)
            queries = Queries(contents, denoising.anchors).joined(queries)
        layers = [
            self.heads(output.queries, output.boxes, names, mask_features)
            for output in self.decoder(queries, memory, self.heads, blocked)
        ]
        end = queries.contents.shape[1]
        return TrainingPredictions(
            tuple(layer.rows(padding, end) for layer in layers),
            intermediate,
            tuple(layer.rows(0, padding) for layer in layers) if padding else (),
            from_image.contents.shape[1],
        )

    def select(self, memory: Memory, names: Tensor) -> Selection:
        """Cells of the memory that are most similar to any of the names float [K, D]."""
        return self.selection(memory, names, self.heads)

    def _with_stuff(self, queries: Queries) -> Queries:
        if not self.config.stuff_queries:
            return queries
        batch = queries.contents.shape[0]
        return queries.joined(
            Queries(
                self.stuff_contents.expand(batch, -1, -1), self.stuff_anchors.expand(batch, -1, -1)
            )
        )


def _build_backbone(config: OpenSeeDConfig, drop_path: float) -> SwinPyramid | TimmPyramid:
    if config.trunk:
        return TimmPyramid(config.trunk)
    swin = config.backbone
    return SwinPyramid(swin.width, swin.depths, swin.heads, swin.window, drop_path)
