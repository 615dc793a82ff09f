"""Conversion of released PartCLIPSeg weights."""

from __future__ import annotations

from torch import Tensor

from ovps_core.checkpoints.convert.clipseg import clipseg_values
from ovps_core.checkpoints.convert.key_names import StateDict, from_hugging_face
from ovps_core.checkpoints.convert.released_file import ReleasedWeights
from ovps_core.checkpoints.file import CheckpointInfo
from ovps_core.errors import CheckpointError
from ovps_core.language.vocabulary import load_vocabulary
from ovps_core.models.partclipseg.corrections import Corrections
from ovps_core.models.partclipseg.model import PartCLIPSegConfig


def is_partclipseg_release(state: StateDict) -> bool:
    """Return whether the tensors are of a released PartCLIPSeg."""
    return "non_object_embedding" in state


def convert_partclipseg_release(
    weights: ReleasedWeights,
) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """Convert a released PartCLIPSeg; returns the header without a name, and the tensors.

    Raises:
        CheckpointError: no vocabulary is given, or a tensor is missing that the sizes are read from.
    """
    if not weights.vocabulary:
        raise CheckpointError(
            "a PartCLIPSeg checkpoint does not say what it was trained on; name it: "
            "--vocabulary pascal_part_116, ade20k_part_234 or partimagenet"
        )
    config = PartCLIPSegConfig(
        **clipseg_values(weights.state, weights.config),
        corrections=Corrections.released(),
        trained_object_parts=tuple(load_vocabulary(weights.vocabulary).seen().object_parts),
    )
    info = CheckpointInfo("", "partclipseg", config, licence="MIT")
    return info, from_hugging_face(weights.state)
