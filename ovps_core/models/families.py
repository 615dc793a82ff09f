"""The table of model families: a name, a configuration, and how to build a network with its query encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import open_clip

from ovps_core.models.backbones.clip_vit import ClipSpec, build_clip
from ovps_core.models.clipseg.model import CLIPSeg, CLIPSegConfig
from ovps_core.models.clipseg.query_encoder import PhraseEncoder
from ovps_core.models.compact.model import PartFPN, PartFPNConfig
from ovps_core.models.compact.query_encoder import VocabularyEncoder
from ovps_core.models.interface import PartModel, QueryEncoder
from ovps_core.models.partclipseg.model import PartCLIPSeg, PartCLIPSegConfig
from ovps_core.models.partclipseg.query_encoder import ObjectPartEncoder
from ovps_core.models.text.tower import TextEncoder


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        config: frozen dataclass with every number of a network; has ``from_json`` and ``vocabulary``.
        build: configuration -> network with random weights, and its query encoder.
    """

    config: type[Any]
    build: Callable[[Any], tuple[PartModel, QueryEncoder]]


def _clipseg(config: CLIPSegConfig) -> tuple[PartModel, QueryEncoder]:
    clip = build_clip(config.clip)
    text_encoder = TextEncoder(clip.text, _tokenizer(config.clip, clip.context_length))
    model = CLIPSeg(config, clip)
    return model, PhraseEncoder(text_encoder, model.spec.condition_dim)


def _partclipseg(config: PartCLIPSegConfig) -> tuple[PartModel, QueryEncoder]:
    clip = build_clip(config.clip)
    text_encoder = TextEncoder(clip.text, _tokenizer(config.clip, clip.context_length))
    model = PartCLIPSeg(config, clip)
    return model, ObjectPartEncoder(text_encoder, model)


def _compact(config: PartFPNConfig) -> tuple[PartModel, QueryEncoder]:
    return PartFPN(config), VocabularyEncoder(config.vocabulary)


def _tokenizer(clip: ClipSpec, context_length: int) -> Callable[[list[str]], Any]:
    if isinstance(clip, str):
        return open_clip.get_tokenizer(clip)
    return open_clip.SimpleTokenizer(context_length=context_length)


FAMILIES: dict[str, Family] = {
    "clipseg": Family(CLIPSegConfig, _clipseg),
    "partclipseg": Family(PartCLIPSegConfig, _partclipseg),
    "compact": Family(PartFPNConfig, _compact),
}
"""Families by the name that checkpoints and recipes use."""
