"""PartCATSeg and CAT-Seg answer any words; what an answer depends on, and how many fit together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.toy_models import toy

from ovps_core.engines.chunking import pad_to_bucket, split
from ovps_core.engines.interface import MAX_QUERIES
from ovps_core.engines.torch_eager import EagerEngine
from ovps_core.language.parser import parse_queries
from ovps_core.models.catseg.attention import linear_attention, query_attention
from ovps_core.models.catseg.model import CATSeg
from ovps_core.models.interface import Features, QueryRows
from ovps_core.models.joint_conditions import MAX_JOINT_ROWS, JointConditions
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import PartQuery

IMAGE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
FAMILIES = ("catseg", "partcatseg")


@pytest.fixture(scope="module", params=FAMILIES)
def segmenter(request: pytest.FixtureRequest) -> PartSegmenter:
    loaded = toy(request.param)
    return PartSegmenter(loaded, EagerEngine(loaded.model))


def test_the_background_is_the_last_row_of_every_list(segmenter: PartSegmenter) -> None:
    model = segmenter.model
    assert isinstance(model, CATSeg)
    conditions = segmenter.encode_queries(["knife handle", "mug", "handle"]).conditions
    assert isinstance(conditions, JointConditions)
    background = model.background_row()[0]
    torch.testing.assert_close(conditions.names[-1], background)
    if model.spec.answers_object_parts:
        torch.testing.assert_close(conditions.object_parts[-1], background)
        assert conditions.part_index[-1] == conditions.object_index[-1] == len(conditions.names) - 1


def test_an_image_is_encoded_once_and_asked_many_times(segmenter: PartSegmenter) -> None:
    encoded = segmenter.encode(IMAGE)
    for phrases in (["knife handle"], ["knife handle", "mug"], ["spoon"]):
        again = segmenter.query_maps([IMAGE], segmenter.encode_queries(phrases))
        conditions = segmenter.encode_queries(phrases)
        maps = segmenter.engine.decode_image(encoded.features, conditions.conditions)
        assert maps.names.shape[0] == 1 and again.shape[:2] == (1, len(phrases))


def test_an_answer_depends_on_the_other_queries_not_on_their_order(
    segmenter: PartSegmenter,
) -> None:
    alone = segmenter.probabilities(IMAGE, ["knife handle"])[0]
    beside = segmenter.probabilities(IMAGE, ["knife handle", "mug handle"])[0]
    swapped = segmenter.probabilities(IMAGE, ["mug handle", "knife handle"])[1]
    assert not np.array_equal(alone, beside)
    np.testing.assert_allclose(beside, swapped, atol=1e-5)


def test_queries_beyond_the_most_rows_are_refused_with_the_reason(
    segmenter: PartSegmenter,
) -> None:
    names = [f"thing{i} part{i}" for i in range(MAX_JOINT_ROWS)]
    encoded = segmenter.encode_queries(names)
    rows = max(len(encoded.conditions.names), len(encoded.conditions.object_parts))
    assert rows <= MAX_JOINT_ROWS <= MAX_QUERIES
    assert len(encoded.queries) + len(encoded.refused) == len(names)
    assert encoded.refused[0].text == names[len(encoded.queries)]
    assert "remove some" in encoded.refused[0].reason


def test_a_part_of_an_object_is_where_both_its_class_and_the_object_are() -> None:
    encoder = toy("partcatseg").query_encoder
    encoded = encoder.encode(parse_queries("knife handle, mug, part handle"))
    assert encoded.query_rows[0] == QueryRows(names=(1,), object_parts=(0,))
    assert encoded.query_rows[1] == QueryRows(names=(2,))
    alone = encoder.encode([PartQuery("handle", part="handle")])
    assert alone.query_rows == (QueryRows(names=(0,)),)
    assert not len(alone.conditions.object_parts), "no class, so the second branch does not run"


def test_joint_conditions_are_neither_split_nor_padded(segmenter: PartSegmenter) -> None:
    conditions = segmenter.encode_queries(["a b", "c d", "e f"]).conditions
    assert len(split(conditions, 2)) == 1
    assert pad_to_bucket(conditions) is conditions


def test_a_name_too_long_for_its_longest_prompt_is_refused(segmenter: PartSegmenter) -> None:
    encoded = segmenter.encode_queries(["mug", "zq " * 60 + "long"])
    assert len(encoded.queries) == 1 and "tokens" in encoded.refused[0].reason


def test_synonyms_are_averaged_for_each_template() -> None:
    encoder = toy("catseg").query_encoder.text_encoder
    assert encoder is not None
    both, first, second = encoder.embed(["couch, sofa", "couch", "sofa"]).unflatten(1, (3, -1))
    mean = torch.nn.functional.normalize(first + second, dim=-1)
    torch.testing.assert_close(both, mean, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_features_hold_everything_that_the_decoder_reads(segmenter: PartSegmenter) -> None:
    model = segmenter.model
    assert isinstance(model, CATSeg)
    features = model.encode(torch.zeros(2, 3, *model.spec.preprocessing.size))
    assert [tuple(level.shape) for level in features.levels] == [
        (2, 32, 6, 6),
        (2, 16, 6, 6),
        (2, 12, 12, 12),
        (2, 8, 24, 24),
    ]
    halves = [
        model.decode(
            Features(tuple(level[i : i + 1] for level in features.levels), features.size),
            segmenter.encode_queries(["knife handle"]).conditions,
        ).names
        for i in (0, 1)
    ]
    torch.testing.assert_close(halves[0], halves[1])


def test_in_query_attention_each_key_is_shared_out_among_the_queries() -> None:
    query, key = torch.zeros(1, 3, 4), torch.randn(1, 3, 4)
    value = torch.eye(3)[None]
    torch.testing.assert_close(query_attention(query, key, value), torch.full((1, 3, 3), 1 / 3))
    mixed = linear_attention(torch.randn(1, 3, 4), key, value)
    torch.testing.assert_close(mixed.sum(-1), torch.ones(1, 3), rtol=0, atol=1e-4)
