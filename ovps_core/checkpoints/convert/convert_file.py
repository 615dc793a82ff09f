"""Conversion of a released weights file, of whichever project, into an OVPS file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ovps_core.checkpoints.convert.clipseg import (
    convert_hugging_face,
    convert_original_decoder,
    is_hugging_face,
    is_original_decoder,
)
from ovps_core.checkpoints.convert.key_names import StateDict
from ovps_core.checkpoints.convert.openseed import (
    convert_openseed_release,
    is_openseed_release,
    released_openseed_key,
)
from ovps_core.checkpoints.convert.partcatseg import (
    convert_catseg_release,
    is_catseg_release,
)
from ovps_core.checkpoints.convert.partclipseg import (
    convert_partclipseg_release,
    is_partclipseg_release,
)
from ovps_core.checkpoints.convert.released_file import (
    EXPECTED,
    ReleasedWeights,
    read_hugging_face_config,
    read_state,
)
from ovps_core.checkpoints.file import CheckpointInfo, check_fit, save_model
from ovps_core.errors import CheckpointError

Converter = Callable[[ReleasedWeights], tuple[CheckpointInfo, dict[str, Tensor]]]

# A PartCLIPSeg has all tensors of a Hugging Face CLIPSeg too, so it is looked for first.
_CONVERTERS: tuple[tuple[Callable[[StateDict], bool], Converter], ...] = (
    (is_original_decoder, convert_original_decoder),
    (is_partclipseg_release, convert_partclipseg_release),
    (is_openseed_release, convert_openseed_release),
    (is_catseg_release, convert_catseg_release),
    (is_hugging_face, convert_hugging_face),
)


def convert(
    source: Path,
    destination: Path,
    *,
    vocabulary: str = "",
    name: str = "",
    clip: str = "openai",
    separate_aggregation: bool = False,
) -> CheckpointInfo:
    """Convert the weights at ``source`` into ``destination``, a safetensors file with its configuration.

    Args:
        source: a file or directory; the names of its tensors tell which project it is from.
        destination: the file to write.
        vocabulary: for PartCLIPSeg and PartCATSeg, the benchmark that it was trained on ("pascal_part_116", ...).
        name: name of the model; the destination's stem by default.
        clip: for original CLIPSeg decoder files, the open_clip tag of the CLIP weights that they lack.
        separate_aggregation: for PartCATSeg, refine parts and objects by layers of their own.

    Returns:
        The header of the file, with its digest.

    Raises:
        CheckpointError: the file cannot be read or is of another model; lists the first wrong tensors.
    """
    state = read_state(source)
    weights = ReleasedWeights(
        state, read_hugging_face_config(source), vocabulary, clip, separate_aggregation
    )
    for recognises, convert_weights in _CONVERTERS:
        if recognises(state):
            info, tensors = convert_weights(weights)
            info = replace(info, name=name or destination.stem, source=source.name)
            named = released_openseed_key if info.model == "openseed" else str
            check_fit(info, tensors, origin=str(source), named=named)
            return save_model(destination, tensors, info)
    first = ", ".join(sorted(state)[:5])
    raise CheckpointError(
        f"{source} is of an unknown model: its first tensors are {first}; {EXPECTED}"
    )
