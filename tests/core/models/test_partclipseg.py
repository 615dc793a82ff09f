"""A released PartCLIPSeg answers a query with the class that it was trained with."""

from __future__ import annotations

import pytest
import torch
from helpers.toy_models import TOY_CLIP, build

from ovps_core.language.vocabulary import load_vocabulary
from ovps_core.models.partclipseg.corrections import Corrections
from ovps_core.models.partclipseg.model import PartCLIPSegConfig
from ovps_core.structures.query import PartQuery


@pytest.mark.parametrize("name", ["pascal_part_116", "ade20k_part_234", "partimagenet"])
@pytest.mark.parametrize("corrections", [Corrections(), Corrections.released()])
def test_a_query_has_the_condition_of_its_class_in_the_training_vocabulary(
    name: str, corrections: Corrections
) -> None:
    vocabulary = load_vocabulary(name).seen()
    config = PartCLIPSegConfig(
        clip=TOY_CLIP,
        out_indices=(),
        image_size=64,
        dim=16,
        heads=4,
        mlp_dim=32,
        corrections=corrections,
        trained_object_parts=vocabulary.object_parts,
    )
    encoder = build("partclipseg", config).query_encoder
    queries = [PartQuery(f"{each} {part}", each, part) for each, part in vocabulary.object_parts]
    asked = encoder.encode(queries).conditions.object_parts
    trained = encoder.encode_vocabulary(vocabulary).object_parts
    torch.testing.assert_close(asked[: len(queries)], trained[: len(queries)], rtol=0, atol=1e-5)
