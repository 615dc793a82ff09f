"""Table of the model families; the code of a family is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovps_core.models.interface import ModelSpec, PartModel, QueryEncoder

if TYPE_CHECKING:
    from open_clip import CustomTextCLIP

    from ovps_core.models.clipseg.model import CLIPSegConfig
    from ovps_core.models.compact.model import PartFPNConfig
    from ovps_core.models.partclipseg.model import PartCLIPSegConfig
    from ovps_core.models.text.tower import TextEncoder


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        import_config: returns the frozen dataclass with the configuration of a network; it has ``from_json`` and
            ``vocabulary``.
        build: makes a network with random weights, and its query encoder, from a configuration.
        describe: makes the specification and the query encoder from a configuration, without the network; None
            for families whose query encoder has weights.
    """

    import_config: Callable[[], type[Any]]
    build: Callable[[Any], tuple[PartModel, QueryEncoder]]
    describe: Callable[[Any], tuple[ModelSpec, QueryEncoder]] | None = None

    @property
    def config(self) -> type[Any]:
        """The configuration's class."""
        return self.import_config()


def _clipseg_config() -> type[Any]:
    from ovps_core.models.clipseg.model import CLIPSegConfig

    return CLIPSegConfig


def _build_clipseg(config: CLIPSegConfig) -> tuple[PartModel, QueryEncoder]:
    from ovps_core.models.backbones.clip_vit import build_clip
    from ovps_core.models.clipseg.model import CLIPSeg
    from ovps_core.models.clipseg.query_encoder import PhraseEncoder

    clip = build_clip(config.clip)
    model = CLIPSeg(config, clip)
    return model, PhraseEncoder(_text_encoder(config, clip), model.spec.condition_dim)


def _partclipseg_config() -> type[Any]:
    from ovps_core.models.partclipseg.model import PartCLIPSegConfig

    return PartCLIPSegConfig


def _build_partclipseg(config: PartCLIPSegConfig) -> tuple[PartModel, QueryEncoder]:
    from ovps_core.models.backbones.clip_vit import build_clip
    from ovps_core.models.partclipseg.model import PartCLIPSeg
    from ovps_core.models.partclipseg.query_encoder import ObjectPartEncoder

    clip = build_clip(config.clip)
    text_encoder = _text_encoder(config, clip)
    model = PartCLIPSeg(config, clip)
    return model, ObjectPartEncoder(text_encoder, model)


def _text_encoder(config: CLIPSegConfig, clip: CustomTextCLIP) -> TextEncoder:
    """The text tower of an open_clip model, with the tokeniser that it was trained with."""
    import open_clip

    from ovps_core.models.text.tower import TextEncoder

    if isinstance(config.clip, str):
        return TextEncoder(clip.text, open_clip.get_tokenizer(config.clip))
    return TextEncoder(clip.text, open_clip.SimpleTokenizer(context_length=clip.context_length))


def _compact_config() -> type[Any]:
    from ovps_core.models.compact.model import PartFPNConfig

    return PartFPNConfig


def _build_compact(config: PartFPNConfig) -> tuple[PartModel, QueryEncoder]:
    from ovps_core.models.compact.model import PartFPN

    return PartFPN(config), _describe_compact(config)[1]


def _describe_compact(config: PartFPNConfig) -> tuple[ModelSpec, QueryEncoder]:
    from ovps_core.models.compact.query_encoder import VocabularyEncoder

    return config.spec, VocabularyEncoder(config.vocabulary)


FAMILIES: dict[str, Family] = {
    "clipseg": Family(_clipseg_config, _build_clipseg),
    "partclipseg": Family(_partclipseg_config, _build_partclipseg),
    "compact": Family(_compact_config, _build_compact, _describe_compact),
}
"""Families by the name that checkpoints and recipes use."""
