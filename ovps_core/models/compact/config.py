"""Configuration of the compact model; reading it needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ovps_core.models.confidence import ConfidenceMeasure
from ovps_core.models.interface import (
    ClosedVocabulary,
    ModelSpec,
    Preprocessing,
    QuantisationSpec,
    QuantisedLayers,
)

_RENAMED = {  # fields of headers that version 0.1.0 wrote
    "pairs": "object_parts",
    "mirrored": "flip_tta",
    "agreement": "prior_strength",
    "neighbourhood": "prior_radius",
    "caution": "unseen_pair_penalty",
}


@dataclass(frozen=True)
class PartFPNConfig:
    """Configuration of a compact model.

    Attributes:
        objects, parts: known words, in the order of the softmaxes.
        object_parts: (object, part) classes that training saw.
        size: (height, width) of the network's input, pixels; multiples of 32, with half_scale of 64.
        trunk: a timm network with feature maps at strides 4, 8, 16 and 32.
        dim: channels of the merged map at stride 4.
        flip_tta: average with the prediction for the mirrored image (test-time augmentation); doubles the work.
        half_scale: that second prediction is for the image at half the size, which adds a quarter of the work and
            shows large objects whole.
        prior_strength: exponent of the image-level object prior (``ovps_core/models/compact/image_prior.py``); 0
            switches it off.
        prior_radius: radius of the neighbourhood in that prior, cells of stride 4.
        scale, shift: calibration of a query's logit, fitted on validation pictures: ``scale * logit + shift``.
        relative_cut: share of a map's peak at which a part ends (``ovps_core/models/compact/presence.py``); then
            scale and shift calibrate the presence of the part. 0 takes one threshold for both.
        unseen_pair_penalty: subtracted from the logit of (object, part) classes that training never saw, since
            most of them do not exist.
        usual_confidence: 95% of the validation pictures have at least this confidence
            (:mod:`ovps_core.models.confidence`); 0 if it was not measured.
        synonyms: a known name, followed by other words for it, beside those of the lexicon.
    """

    objects: tuple[str, ...]
    parts: tuple[str, ...]
    object_parts: tuple[tuple[str, str], ...]
    size: tuple[int, int] = (256, 288)
    trunk: str = "efficientnet_lite0"
    dim: int = 64
    flip_tta: bool = True
    half_scale: bool = False
    prior_strength: float = 0.25
    prior_radius: int = 6
    scale: float = 1.0
    shift: float = 0.0
    relative_cut: float = 0.0
    unseen_pair_penalty: float = 0.0
    usual_confidence: float = 0.0
    synonyms: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PartFPNConfig:
        """Read the header of a checkpoint, in which tuples are lists."""
        fields: dict[str, Any] = {
            _RENAMED.get(name, name): tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        fields["object_parts"] = tuple((name, part) for name, part in fields["object_parts"])
        fields["synonyms"] = tuple(tuple(names) for names in fields.get("synonyms", ()))
        return cls(**fields)

    @property
    def vocabulary(self) -> ClosedVocabulary:
        """The words that the model knows."""
        return ClosedVocabulary(self.objects, self.parts, self.object_parts)

    @property
    def spec(self) -> ModelSpec:
        """Specification of the network; the network is not built."""
        confidence = ConfidenceMeasure(len(self.objects), self.usual_confidence)
        return ModelSpec(
            preprocessing=Preprocessing(size=self.size, mean=(0.5,) * 3, std=(0.5,) * 3),
            condition_dim=len(self.objects) + len(self.parts) + len(self.object_parts),
            vocabulary=self.vocabulary,
            trained_object_parts=self.object_parts,
            answers_object_parts=True,
            safe_in_half_precision=False,
            quantisation=QuantisationSpec(
                int8={"encoder": QuantisedLayers(("inner",))},
                mixed={"encoder": QuantisedLayers(("deep", "projections"))},
            ),
            confidence=confidence if self.usual_confidence else None,
        )
