"""The recipe of a PartCLIPSeg: what it has beside the sections of a CLIPSeg's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ovps_core.losses.partclipseg import LossWeights
from ovps_core.models.partclipseg.corrections import Corrections
from training.clipseg.recipe import CLIPSegRecipe
from training.recipe import PRESETS


@dataclass(frozen=True)
class PartCLIPSegRecipe(CLIPSegRecipe):
    """A run of PartCLIPSeg; the defaults are those for new training.

    Attributes:
        losses: weights of the losses.
        corrections: one switch per correction of the released code, or ``released`` for none of them.
    """

    family: ClassVar[str] = "partclipseg"

    losses: LossWeights = field(default_factory=LossWeights)
    corrections: Corrections = field(
        default_factory=Corrections, metadata={PRESETS: {"released": Corrections.released()}}
    )
