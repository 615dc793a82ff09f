"""The recipes of PartCATSeg and CAT-Seg: the sections of their YAML files, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ovps_core.losses.partcatseg import LossWeights
from ovps_core.models.partcatseg.corrections import Corrections
from training.recipe import (
    PRESETS,
    ClipTowers,
    DataRecipe,
    Precision,
    Recipe,
    StepOptimRecipe,
)


@dataclass(frozen=True)
class ModelRecipe(ClipTowers):
    """The network.

    Attributes:
        weights: name or file of a CAT-Seg or PartCATSeg to start from. Tensors of another shape are left at
            random; those of another guidance model are left out. ``clip`` must have its sizes.
        image_size: side of the square that CLIP sees, pixels.
        guidance: a timm model, its configuration as a mapping with ``name``, or empty for none.
        guidance_pretrained: start from the published weights of ``guidance``, unless ``weights`` has that model.
        guidance_size: side of the square that the guidance model sees, pixels.
        templates: prompts for each name, 1 to 80.
        dim, heads, layers: sizes of the aggregation.
        window: side of a window of the spatial aggregation, cells.
        guidance_dim: channels of the guidance of the spatial aggregation.
        text_guidance_dim: channels of the guidance of the aggregation over classes.
        decoder_dims: channels of the two upsampling steps.
        decoder_guidance_dims: channels of the guidance of each step.
    """

    image_size: int = 384
    guidance: str | dict[str, Any] = "vit_small_patch14_dinov2"
    guidance_pretrained: bool = True
    guidance_size: int = 448
    templates: int = 80
    dim: int = 128
    heads: int = 4
    layers: int = 2
    window: int = 12
    guidance_dim: int = 128
    text_guidance_dim: int = 128
    decoder_dims: tuple[int, int] = (64, 32)
    decoder_guidance_dims: tuple[int, int] = (32, 16)


@dataclass(frozen=True)
class OptimRecipe(StepOptimRecipe):
    """Optimiser and schedule; the learning rate falls as half a cosine.

    Attributes:
        guidance_lr_factor: factor of the learning rate of the guidance model.
    """

    batch: int = 4
    lr: float = 2e-4
    guidance_lr_factor: float = 0.01
    precision: Precision = "32-true"
    seed: int = 12345678


@dataclass(frozen=True)
class CATSegRecipe(Recipe):
    """A run of CAT-Seg.

    Attributes:
        model: the network.
        data: the photographs or rendered scenes.
        optim: optimiser and schedule.
        score_on: "val" or "train", the images to score on; "train" shows overfitting.
    """

    family: ClassVar[str] = "catseg"

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    score_on: Literal["val", "train"] = "val"


@dataclass(frozen=True)
class PartCATSegRecipe(CATSegRecipe):
    """A run of PartCATSeg; the defaults are those for new training.

    Attributes:
        losses: weights of the losses.
        corrections: one switch per correction of the released code, or ``released`` for none of them.
    """

    family: ClassVar[str] = "partcatseg"

    losses: LossWeights = field(default_factory=LossWeights)
    corrections: Corrections = field(
        default_factory=Corrections, metadata={PRESETS: {"released": Corrections.released()}}
    )
