"""Objects and the choice among their parts, in a model that takes any words: its maps are made up here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from ovps_core.language.parser import parse_query
from ovps_core.language.selection import Selectors, read_selection
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    ModelSpec,
    PartLogits,
    Preprocessing,
    QueryRows,
    query_logits,
)
from ovps_core.models.joint_conditions import refuse_beyond
from ovps_core.models.text.literal import read_literally
from ovps_core.objects.object_parts import ObjectOptions, ObjectParts, ObjectsAndParts
from ovps_core.objects.part_evidence import PartEvidence
from ovps_core.pipeline.encoded_image import EncodedImage
from ovps_core.pipeline.objects import choose_by_depth, objects_from_boxes
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import PartQuery

SIDE = 100
READS_ALL = SimpleNamespace(context_length=77, fits=lambda text: True)
Logits = Callable[[PartQuery], float]


class _Encoder:
    """Encoder of the words as they are, with one row for each query, and at most so many."""

    text_encoder = None

    def __init__(self, max_rows: int = 1000) -> None:
        self.max_rows = max_rows

    def read(self, queries: Sequence[PartQuery]):
        queries, too_long = read_literally(queries, READS_ALL, lambda query: [query.object])
        queries, too_many = refuse_beyond(self.max_rows, queries, len)
        return queries, (*too_long, *too_many)

    def encode(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        accepted, refused = self.read(queries)
        rows = tuple(QueryRows(names=(i,)) for i in range(len(accepted)))
        conditions = Conditions(*[np.zeros((len(accepted), 1), np.float32)] * 4)
        return EncodedQueries(accepted, conditions, rows, refused)


def object_parts(logit: Logits = lambda query: 4.0, max_rows: int = 1000) -> ObjectParts:
    """Search in a model whose map of a query is ``logit(query)`` everywhere."""

    def decode(image: EncodedImage, queries: EncodedQueries) -> NDArray[np.float32]:
        return np.stack([np.full((16, 16), logit(one), np.float32) for one in queries.queries])

    spec = SimpleNamespace(vocabulary=None, preprocessing=SimpleNamespace(size=(64, 64)))
    encoder = _Encoder(max_rows)
    evidence = PartEvidence(encoder, spec, lambda im: EncodedImage(None, SIDE, SIDE, im), decode)
    return ObjectParts(None, evidence, ObjectOptions())


def find(
    search: ObjectParts,
    phrases: Sequence[str | PartQuery],
    objects: list[tuple[str, tuple[int, ...]]],
    options: SegmentOptions | None = None,
) -> ObjectsAndParts:
    asked = [parse_query(one) if isinstance(one, str) else one for one in phrases]
    selected = [read_selection(query, Selectors(objects=True, depth=True)) for query in asked]
    encoded = _Encoder().encode(selected)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    given = objects_from_boxes(objects, SIDE, SIDE)
    return search.find(image, encoded, options or SegmentOptions(), given)


@pytest.mark.parametrize(
    ("phrase", "given"),
    [
        ("cup handle", "cup"),
        ("mug handle", "cup"),
        ("cup handle", "mug"),
        ("cup handle", "Cup "),
        ("fridge door", "fridge"),
        ("fridge door", "refrigerator"),
        ("frying pan handle", "frying pan"),
    ],
)
def test_given_objects_may_be_synonyms_of_the_queries_and_get_their_name(
    phrase: str, given: str
) -> None:
    found = find(object_parts(), [phrase], [(given, (20, 20, 80, 80)), ("chair", (0, 0, 20, 20))])
    assert [one.name for one in found.objects] == [parse_query(phrase).object]
    assert [part.object_id for part in found.parts] == [1]


def test_two_synonyms_are_asked_of_one_object() -> None:
    box = (20, 20, 80, 80)
    found = find(object_parts(), ["cup handle", "mug rim", "knife blade"], [("mug", box)])
    assert [(one.id, one.name) for one in found.objects] == [(1, "mug")]
    assert {part.query.text for part in found.parts} == {"cup handle", "mug rim"}


def test_margins_see_the_parts_of_other_objects() -> None:
    """A knife and a fork that lie in one place: the margin says that they are hard to tell apart."""
    search = object_parts(lambda query: 3.0 if query.object == "knife" else 2.5)
    box = (20, 20, 80, 80)
    found = find(search, ["knife handle", "fork handle"], [("knife", box), ("fork", box)])
    knife, fork = found.parts
    assert knife.object_id != fork.object_id
    assert knife.margin == pytest.approx(knife.score - fork.score, abs=0.01)
    apart = find(
        search, ["knife handle", "fork handle"], [("knife", box), ("fork", (0, 0, 15, 15))]
    )
    assert all(part.margin > 0.9 for part in apart.parts)


def test_margins_count_what_max_parts_left_out_of_the_same_object_only() -> None:
    search = object_parts(lambda query: 3.0)
    one = replace(parse_query("mug handle"), max_parts=1)
    objects = [("mug", (0, 0, 40, 100)), ("mug", (60, 0, 100, 100))]
    found = find(search, [one], objects)
    assert [part.margin for part in found.parts] == [part.score for part in found.parts]


class _TwoHandles:
    """Engine whose every map shows a small place at the left and a large, surer one at the right."""

    name = "made up"

    def preprocess(self, images, preprocessing):
        return np.zeros((len(images), 3, 64, 64), np.float32)

    def encode_image(self, pixels):
        return None

    def decode_image(self, features, conditions):
        maps = np.full((1, len(conditions.names), 64, 64), -6, np.float32)
        maps[:, :, 10:20, 10:20], maps[:, :, 10:20, 40:55] = 3, 4
        return PartLogits.names_only(maps)

    def host_maps(self, logits, queries, threshold):
        return query_logits(logits, queries.query_rows)


class _NoObjects:
    """Source that finds nothing."""

    name = ""

    def find(self, image, names):
        return ()

    def refusal_of(self, name):
        return ""


@pytest.fixture(scope="module")
def two_handles() -> PartSegmenter:
    """Segmenter of the whole image, where nothing is an object."""
    loaded = SimpleNamespace(
        spec=ModelSpec(preprocessing=Preprocessing((64, 64)), condition_dim=1),
        query_encoder=_Encoder(),
        info="made up",
    )
    return PartSegmenter(loaded, _TwoHandles(), objects=_NoObjects(), depth=True)


@pytest.mark.parametrize("max_parts", [0, 1])
@pytest.mark.parametrize(
    ("phrase", "places"),
    [
        ("left handle", [10]),
        ("right handle", [40]),
        ("largest handle", [40]),
        ("smallest handle", [10]),
        ("left mug handle", []),
    ],
)
def test_a_part_without_an_object_is_chosen_among_the_parts_themselves(
    two_handles: PartSegmenter, phrase: str, places: list[int], max_parts: int
) -> None:
    asked = replace(parse_query(phrase), max_parts=max_parts)
    for options in (SegmentOptions(), SegmentOptions(max_parts=1)):
        found = two_handles.segment(np.zeros((64, 64, 3), np.uint8), [asked], options)
        assert [part.box.x_offset for part in found.parts] == places
        assert [part.id for part in found.parts] == list(range(1, len(places) + 1))


def test_all_candidates_for_the_nearest_are_kept_for_the_choice_by_depth(
    two_handles: PartSegmenter,
) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    masks = two_handles.segment(image, ["nearest handle"], SegmentOptions(max_parts=1))
    depth = np.full((64, 64), 0.9, np.float32)
    depth[:, :30] = 0.6
    chosen = choose_by_depth(masks, depth, (0.1, 3.0), max_parts=1)
    assert [part.box.x_offset for part in chosen.parts] == [10]

    nearest = find(
        object_parts(lambda query: 3.0),
        ["nearest mug handle"],
        [("mug", (0, 0, 40, 100)), ("mug", (60, 0, 100, 100))],
        SegmentOptions(max_parts=1),
    )
    assert [part.object_id for part in nearest.parts] == [1, 2]


def test_parts_beyond_one_call_of_a_model_are_answered_too() -> None:
    parts = [f"p{number}" for number in range(20)]
    asked = [PartQuery(f"mug {part}", "mug", part) for part in parts]
    for max_rows in (31, 8):
        found = find(object_parts(max_rows=max_rows), asked, [("mug", (0, 0, 90, 90))])
        assert {part.query.part for part in found.parts} == set(parts), max_rows
