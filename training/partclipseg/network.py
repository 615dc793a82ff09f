"""The PartCLIPSeg of a recipe: new, from pretrained towers, or from existing weights."""

from __future__ import annotations

from ovps_core.language.vocabulary import Vocabulary
from ovps_core.models.partclipseg.corrections import Corrections
from ovps_core.models.partclipseg.model import PartCLIPSeg
from ovps_core.models.partclipseg.query_encoder import ObjectPartEncoder
from training.clipseg.network import build_family
from training.clipseg.recipe import ModelRecipe


def build_network(
    recipe: ModelRecipe, corrections: Corrections, vocabulary: Vocabulary
) -> tuple[PartCLIPSeg, ObjectPartEncoder]:
    """Build a PartCLIPSeg and its query encoder, on the CPU; the configuration records the vocabulary.

    From the weights of a CLIPSeg it starts as the paper does.

    Raises:
        CheckpointError: the weights to start from are missing or of another model.
    """
    values = {"corrections": corrections, "trained_object_parts": vocabulary.object_parts}
    model, query_encoder, old = build_family("partclipseg", recipe, values)
    assert isinstance(model, PartCLIPSeg) and isinstance(query_encoder, ObjectPartEncoder)
    if not isinstance(old, PartCLIPSeg):
        model.start_pair_head()
    return model, query_encoder
