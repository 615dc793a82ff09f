"""Table of the model families; the code of a family is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovps_core.models.interface import ModelSpec, QueryEncoder
from ovps_core.structures.requirements import require_packages

if TYPE_CHECKING:
    from open_clip import CustomTextCLIP

    from ovps_core.models.backbones.clip_vit import ClipSpec
    from ovps_core.models.catseg.config import CATSegConfig
    from ovps_core.models.catseg.text import PromptBankEncoder
    from ovps_core.models.clipseg.model import CLIPSegConfig
    from ovps_core.models.compact.config import PartFPNConfig
    from ovps_core.models.network import PartModel
    from ovps_core.models.openseed.config import OpenSeeDConfig
    from ovps_core.models.partcatseg.model import PartCATSegConfig
    from ovps_core.models.partclipseg.model import PartCLIPSegConfig
    from ovps_core.models.text.tower import TextEncoder, Tokenizer


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
        """The configuration's class.

        Raises:
            MissingDependencyError: the family needs PyTorch, which is not installed.
        """
        if self.describe is None:
            require_packages("torch", "open_clip", extra="torch")
        return self.import_config()


def _clipseg_config() -> type[Any]:
    from ovps_core.models.clipseg.model import CLIPSegConfig

    return CLIPSegConfig


def _build_clipseg(config: CLIPSegConfig) -> tuple[PartModel, QueryEncoder]:
    from ovps_core.models.backbones.clip_vit import build_clip
    from ovps_core.models.clipseg.model import CLIPSeg
    from ovps_core.models.clipseg.query_encoder import AdaptedPhraseEncoder, PhraseEncoder

    clip = build_clip(config.clip)
    model = CLIPSeg(config, clip)
    text_encoder = _text_encoder(config, clip)
    if config.adapted:
        return model, AdaptedPhraseEncoder(text_encoder, model)
    return model, PhraseEncoder(text_encoder, model.spec.condition_dim)


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


def _catseg_config() -> type[Any]:
    from ovps_core.models.catseg.config import CATSegConfig

    return CATSegConfig


def _build_catseg(config: CATSegConfig) -> tuple[PartModel, QueryEncoder]:
    from ovps_core.models.backbones.clip_vit import build_clip
    from ovps_core.models.catseg.model import CATSeg
    from ovps_core.models.catseg.query_encoder import JointPhraseEncoder

    clip = build_clip(config.clip)
    model = CATSeg(config, clip)
    return model, JointPhraseEncoder(_prompt_bank_encoder(config, clip), model)


def _partcatseg_config() -> type[Any]:
    from ovps_core.models.partcatseg.model import PartCATSegConfig

    return PartCATSegConfig


def _build_partcatseg(config: PartCATSegConfig) -> tuple[PartModel, QueryEncoder]:
    from ovps_core.models.backbones.clip_vit import build_clip
    from ovps_core.models.partcatseg.model import PartCATSeg
    from ovps_core.models.partcatseg.query_encoder import PairBankEncoder

    clip = build_clip(config.clip)
    model = PartCATSeg(config, clip)
    return model, PairBankEncoder(_prompt_bank_encoder(config, clip), model)


def _openseed_config() -> type[Any]:
    from ovps_core.models.openseed.config import OpenSeeDConfig

    return OpenSeeDConfig


def _build_openseed(config: OpenSeeDConfig) -> tuple[PartModel, QueryEncoder]:
    import open_clip

    from ovps_core.models.clipseg.query_encoder import PhraseEncoder
    from ovps_core.models.openseed.model import OpenSeeD
    from ovps_core.models.openseed.text import NameEncoder, build_text_tower

    tokenizer = open_clip.SimpleTokenizer(context_length=config.text.context_length)
    encoder = NameEncoder(build_text_tower(config), tokenizer)
    return OpenSeeD(config), PhraseEncoder(encoder, config.text_dim)


def _text_encoder(config: CLIPSegConfig, clip: CustomTextCLIP) -> TextEncoder:
    """The text tower of an open_clip model, with the tokeniser that it was trained with."""
    from ovps_core.models.text.tower import TextEncoder

    return TextEncoder(clip.text, _tokenizer(config.clip, clip))


def _prompt_bank_encoder(config: CATSegConfig, clip: CustomTextCLIP) -> PromptBankEncoder:
    from ovps_core.models.catseg.text import PromptBankEncoder

    return PromptBankEncoder(clip.text, _tokenizer(config.clip, clip), config.templates)


def _tokenizer(spec: ClipSpec, clip: CustomTextCLIP) -> Tokenizer:
    """The tokeniser that a CLIP model was trained with."""
    import open_clip

    if isinstance(spec, str):
        return open_clip.get_tokenizer(spec)
    return open_clip.SimpleTokenizer(context_length=clip.context_length)


def _compact_config() -> type[Any]:
    from ovps_core.models.compact.config import PartFPNConfig

    return PartFPNConfig


def _build_compact(config: PartFPNConfig) -> tuple[PartModel, QueryEncoder]:
    from ovps_core.models.compact.model import PartFPN

    return PartFPN(config), _describe_compact(config)[1]


def _describe_compact(config: PartFPNConfig) -> tuple[ModelSpec, QueryEncoder]:
    from ovps_core.models.compact.query_encoder import VocabularyEncoder

    return config.spec, VocabularyEncoder(config.vocabulary, config.synonyms)


FAMILIES: dict[str, Family] = {
    "clipseg": Family(_clipseg_config, _build_clipseg),
    "partclipseg": Family(_partclipseg_config, _build_partclipseg),
    "catseg": Family(_catseg_config, _build_catseg),
    "partcatseg": Family(_partcatseg_config, _build_partcatseg),
    "openseed": Family(_openseed_config, _build_openseed),
    "compact": Family(_compact_config, _build_compact, _describe_compact),
}
"""Families by the name that checkpoints and recipes use."""
