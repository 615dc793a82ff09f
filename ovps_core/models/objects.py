"""Interface of models that find objects: queries first, which are cheap, then masks of those that are kept."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ovps_core.models.interface import Features
from ovps_core.models.network import PartModel

OBJECT_SUBGRAPHS = ("encoder", "object_decoder", "box_decoder", "mask_decoder")
"""Subgraphs of an object model: run per image, per list of names, per list of boxes, per answer."""


@dataclass(frozen=True)
class ObjectQueries:
    """Objects that an :class:`ObjectModel` found, before their masks are decoded.

    Attributes:
        boxes_cxcywh: float [B, N, 4], centre and size in 0..1 of the pixels.
        scores: float [B, N, K], confidence per queried name, 0..1.
        mask_embeddings: float [B, N, E], input of :meth:`ObjectModel.mask_logits`.
        instances: the first rows, which may be object instances; later rows are regions of stuff. None if all may.
    """

    boxes_cxcywh: Tensor
    scores: Tensor
    mask_embeddings: Tensor
    instances: int | None = None

    def rows(self, kept: Tensor) -> ObjectQueries:
        """The queries int64 [n], in ascending order, of every image."""
        instances = None if self.instances is None else int((kept < self.instances).sum())
        return ObjectQueries(
            self.boxes_cxcywh[:, kept],
            self.scores[:, kept],
            self.mask_embeddings[:, kept],
            instances,
        )

    def with_masks(self, mask_logits: Tensor) -> ObjectPredictions:
        """These queries with their masks float [B, N, h, w]."""
        return ObjectPredictions(self.boxes_cxcywh, self.scores, mask_logits, self.instances)


@dataclass(frozen=True)
class ObjectPredictions:
    """Objects that an :class:`ObjectModel` found, padded to N per image.

    Attributes:
        boxes_cxcywh: float [B, N, 4], centre and size in 0..1 of the pixels.
        scores: float [B, N, K], confidence per queried name, 0..1.
        mask_logits: float [B, N, h, w].
        instances: the first rows, which may be object instances; later rows are regions of stuff. None if all may.
    """

    boxes_cxcywh: Tensor
    scores: Tensor
    mask_logits: Tensor
    instances: int | None = None

    def union_logits(self) -> Tensor:
        """Logits float [B, K, h, w] of the union of each name's instances.

        The probability of a pixel is the highest product of score and mask probability of any query.
        """
        masks = self.mask_logits.sigmoid()
        unions = [(masks * score[:, :, None, None]).amax(1) for score in self.scores.unbind(-1)]
        return torch.stack(unions, 1).logit(eps=1e-6)


class ObjectModel(PartModel):
    """A model that also finds object instances. Engines export its steps one by one.

    Attributes:
        mask_embedding_dim: E of the mask embeddings.
    """

    mask_embedding_dim: int

    @abstractmethod
    def find_queries(self, features: Features, names: Tensor) -> ObjectQueries:
        """Objects of the names float [K, D], without masks."""

    @abstractmethod
    def embed_boxes(self, features: Features, boxes: Tensor, names: Tensor) -> Tensor:
        """Mask embeddings float [B, N, E] of known boxes with known names; see :meth:`decode_masks`."""

    @abstractmethod
    def mask_logits(self, features: Features, mask_embeddings: Tensor) -> Tensor:
        """Mask logits float [B, N, h, w] of mask embeddings float [B, N, E]."""

    def detect(self, features: Features, names: Tensor) -> ObjectPredictions:
        """Objects of the names float [K, D], with the masks of all queries; most have low scores."""
        found = self.find_queries(features, names)
        return found.with_masks(self.mask_logits(features, found.mask_embeddings))

    def decode_masks(self, features: Features, boxes: Tensor, names: Tensor) -> Tensor:
        """Mask logits float [B, N, h, w] of known boxes with known names.

        Args:
            features: of :meth:`encode`.
            boxes: float [B, N, 4], (cx, cy, w, h) in 0..1 of the pixels.
            names: float [B, N, D], embedding of each box's name.
        """
        return self.mask_logits(features, self.embed_boxes(features, boxes, names))
