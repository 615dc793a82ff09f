"""The recipe of a CLIPSeg: the sections of its YAML files, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ovps_core.models.clipseg.corrections import DataCorrections
from training.recipe import PRESETS, ClipTowers, DataRecipe, Recipe, StepOptimRecipe


@dataclass(frozen=True)
class ModelRecipe(ClipTowers):
    """The network.

    Attributes:
        weights: name or file of a model to start from. The values that it fixes (``clip``, ``backbone``,
            sizes of the decoder) are then not read from here.
        backbone: a timm image tower instead of ``clip``'s.
        backbone_pretrained: start from the published weights of ``backbone``.
        image_size: height and width that images are resized to, pixels.
        out_indices: layers that the decoder reads, counted from 0; empty for the tower's default.
        dim: channels of the decoder's blocks.
        heads: attention heads of the decoder's blocks.
        mlp_dim: hidden channels of the decoder's blocks.
    """

    backbone: str = ""
    backbone_pretrained: bool = True
    image_size: int = 352
    out_indices: tuple[int, ...] = ()
    dim: int = 64
    heads: int = 4
    mlp_dim: int = 2048


@dataclass(frozen=True)
class OptimRecipe(StepOptimRecipe):
    """Optimiser and schedule.

    Attributes:
        schedule: poly or cosine.
        poly_power: the learning rate of "poly" falls as (1 - step / steps) ** power.
    """

    warmup: int = 500
    schedule: Literal["poly", "cosine"] = "poly"
    poly_power: float = 0.9
    clip_norm: float = 1.0
    seed: int = 12345678


@dataclass(frozen=True)
class CLIPSegRecipe(Recipe):
    """A run of CLIPSeg; the defaults are those for new training.

    Attributes:
        model: the network.
        data: the photographs or rendered scenes.
        optim: optimiser and schedule.
        corrections: one switch per correction of the released code, or ``released`` for none of them.
        score_on: "val" or "train", the images to score on; "train" shows overfitting.
    """

    family: ClassVar[str] = "clipseg"

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    corrections: DataCorrections = field(
        default_factory=DataCorrections,
        metadata={PRESETS: {"released": DataCorrections.released()}},
    )
    score_on: Literal["val", "train"] = "val"
