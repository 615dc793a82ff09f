"""Base of the engines whose arrays are tensors of PyTorch, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovps_core.engines.chunking import Chunk
from ovps_core.engines.cuda.postprocess import occupied_maps
from ovps_core.engines.cuda.preprocess import to_batch_cuda
from ovps_core.engines.interface import Engine
from ovps_core.errors import BackendError, DeviceMemoryError
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    Features,
    PartLogits,
    Preprocessing,
    query_logits,
)
from ovps_core.models.objects import ObjectPredictions, ObjectQueries
from ovps_core.pipeline.preprocess import RgbImage, to_batch

Keep = Callable[[ObjectQueries], Tensor]
"""Chooses the queries whose masks are decoded: their rows int64 [n], in ascending order."""


class TensorEngine(Engine):
    """An engine that takes and returns tensors. It also runs models that find objects.

    Attributes:
        device: device that takes the pixels and holds the logits.
        max_batch: maximum number of images in one pass of the encoder; None if there is none.
    """

    device: torch.device = torch.device("cpu")
    max_batch: int | None = None

    def run(self, pixels: Tensor, conditions: Conditions[Any]) -> PartLogits:
        """See :meth:`Engine.run`; more than :attr:`max_batch` images take several passes."""
        if self.max_batch is None or len(pixels) <= self.max_batch:
            return super().run(pixels, conditions)
        parts = [self.run(part, conditions) for part in pixels.split(self.max_batch)]
        names, object_parts = ([getattr(p, f) for p in parts] for f in ("names", "object_parts"))
        return PartLogits(torch.cat(names), torch.cat(object_parts))

    def find_queries(self, features: Features, names: Tensor) -> ObjectQueries:
        """See :meth:`ovps_core.models.objects.ObjectModel.find_queries`; float32 on :attr:`device`."""
        raise self._no_objects()

    def embed_boxes(self, features: Features, boxes: Tensor, names: Tensor) -> Tensor:
        """See :meth:`ovps_core.models.objects.ObjectModel.embed_boxes`; float32 on :attr:`device`."""
        raise self._no_objects()

    def mask_logits(self, features: Features, mask_embeddings: Tensor) -> Tensor:
        """See :meth:`ovps_core.models.objects.ObjectModel.mask_logits`; float32 on :attr:`device`."""
        raise self._no_objects()

    def detect(self, features: Features, names: Tensor, keep: Keep) -> ObjectPredictions:
        """Objects of names float [K, D] in one image, with the masks of those that ``keep`` chooses."""
        found = self.find_queries(features, names.to(self.device))
        found = found.rows(keep(found))
        return found.with_masks(self.mask_logits(features, found.mask_embeddings))

    def decode_masks(self, features: Features, boxes: Tensor, names: Tensor) -> Tensor:
        """See :meth:`ovps_core.models.objects.ObjectModel.decode_masks`; float32 on :attr:`device`."""
        boxes, names = boxes.to(self.device), names.to(self.device)
        return self.mask_logits(features, self.embed_boxes(features, boxes, names))

    def _no_objects(self) -> BackendError:
        return BackendError(
            "this model finds parts, not objects; use a model such as openseed-swint"
        )

    def preprocess(self, images: Sequence[RgbImage], preprocessing: Preprocessing) -> Tensor:
        """See :meth:`Engine.preprocess`; the pixels are on :attr:`device`."""
        if self.device.type == "cuda":
            return to_batch_cuda(images, preprocessing, self.device)
        return to_batch(images, preprocessing)

    def host_maps(
        self, logits: PartLogits[Any], queries: EncodedQueries, threshold: float
    ) -> NDArray[np.float32]:
        """See :meth:`Engine.host_maps`; of a GPU only the boxes around values above ``threshold`` are copied."""
        maps: Tensor = query_logits(logits, queries.query_rows)
        return occupied_maps(maps, threshold) if maps.is_cuda else maps.numpy()

    def _inference(self) -> AbstractContextManager[object]:
        return _inference()

    def _placed(self, pixels: Any) -> Tensor:
        return torch.as_tensor(pixels).to(self.device, non_blocking=True)

    def _copied(self, level: Any) -> Tensor:
        return torch.clone(level)

    def _placed_chunk(self, chunk: Chunk) -> Chunk:
        return chunk.to(self.device)


@contextmanager
def _inference() -> Iterator[None]:
    """Run without gradients; a device without memory is reported as an error of ours, with its cache emptied."""
    try:
        with torch.inference_mode():
            yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise DeviceMemoryError(str(error).split(". ")[0]) from error
