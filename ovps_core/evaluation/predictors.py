"""Models as predictors of all names of a benchmark's vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ovps_core.errors import UsageError
from ovps_core.evaluation.protocols import EvaluationProtocol
from ovps_core.evaluation.released_partcatseg import released_pixels, resized_image
from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.catseg.model import CATSeg
from ovps_core.models.interface import PartLogits
from ovps_core.models.joint_conditions import JointConditions
from ovps_core.pipeline.preprocess import to_pixels

if TYPE_CHECKING:
    from ovps_core.segmenter import PartSegmenter


class VocabularyPredictor:
    """Predictor of all names of a vocabulary, which are encoded once.

    Its maps have the network's resolution; the protocols resize them a few classes at a time.

    Args:
        segmenter: the model.
        vocabulary: its names.

    Attributes:
        conditions: the encoded names.
        joint: the model compares its classes with each other.
        classes_only: the (object, part) classes are the model's only names.

    Raises:
        UsageError: the model has no background, which the protocols need.
    """

    def __init__(self, segmenter: PartSegmenter, vocabulary: Vocabulary) -> None:
        self.segmenter = segmenter
        self.conditions = segmenter.query_encoder.encode_vocabulary(vocabulary)
        self.joint = isinstance(self.conditions, JointConditions)
        self.classes_only = not self.conditions.object_parts.shape[0]

    def __call__(self, image: NDArray[np.uint8]) -> PartLogits:
        """RGB uint8 [H, W, 3] -> logits, see ``Predict``; a model of classes alone has no maps of names."""
        pixels = to_pixels(image, self.segmenter.spec.preprocessing)
        return with_class_maps(self.segmenter.engine.run(pixels, self.conditions))


def with_class_maps(logits: PartLogits) -> PartLogits:
    """Logits whose ``object_parts`` are the classes, also for a model whose classes are its only names."""
    if not logits.object_parts.shape[1]:
        return PartLogits(logits.names[:, :0], logits.names)
    return logits


class ReleasedPredictor:
    """Predictor with the pixels of the released PartCATSeg evaluation, always in PyTorch.

    Args:
        predictor: of a PartCATSeg or CAT-Seg.
        protocol: the size to which images are resized.
        resizes: images are resized before they are padded; the release does so for all data sets but PartImageNet.

    Raises:
        UsageError: the model is of another family.
    """

    def __init__(
        self, predictor: VocabularyPredictor, protocol: EvaluationProtocol, *, resizes: bool
    ) -> None:
        model = predictor.segmenter.model
        if not isinstance(model, CATSeg):
            raise UsageError(
                f"this released evaluation is for PartCATSeg and CAT-Seg, not for a {type(model).__name__}; leave "
                "out --released"
            )
        self.model, self.conditions = model, predictor.conditions
        self.sides = protocol.resized_sides if resizes else None

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> PartLogits:
        """RGB uint8 [H, W, 3] -> logits of the padded canvas; see :meth:`VocabularyPredictor.__call__`."""
        resized = image if self.sides is None else resized_image(image, self.sides)
        device = self.model.background.device
        clip, guidance = (pixels.to(device) for pixels in released_pixels(resized))
        features = self.model.encode_resized(clip, guidance)
        return with_class_maps(self.model.decode(features, self.conditions))
