"""Objects and the choice among their parts, in a model that takes any words: its maps are made up here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from ovps_core.language.parser import parse_query
from ovps_core.models.interface import EncodedQueries
from ovps_core.models.text.literal import read_literally
from ovps_core.objects.object_parts import ObjectOptions, ObjectParts, ObjectsAndParts
from ovps_core.objects.part_evidence import PartEvidence
from ovps_core.pipeline.encoded_image import EncodedImage
from ovps_core.pipeline.objects import objects_from_boxes
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.structures.query import PartQuery

SIDE = 100
READS_ALL = SimpleNamespace(context_length=77, fits=lambda text: True)
Logits = Callable[[PartQuery], float]


class _Encoder:
    """Encoder of the words as they are."""

    def read(self, queries: Sequence[PartQuery]):
        return read_literally(queries, READS_ALL, lambda query: [query.object])

    def encode(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        accepted, refused = self.read(queries)
        return EncodedQueries(accepted, None, (), refused)


def object_parts(logit: Logits = lambda query: 4.0) -> ObjectParts:
    """Search in a model whose map of a query is ``logit(query)`` everywhere."""

    def decode(image: EncodedImage, queries: EncodedQueries) -> NDArray[np.float32]:
        return np.stack([np.full((16, 16), logit(one), np.float32) for one in queries.queries])

    spec = SimpleNamespace(vocabulary=None, preprocessing=SimpleNamespace(size=(64, 64)))
    evidence = PartEvidence(_Encoder(), spec, lambda im: EncodedImage(None, SIDE, SIDE, im), decode)
    return ObjectParts(None, evidence, ObjectOptions())


def find(
    search: ObjectParts, phrases: list[str], objects: list[tuple[str, tuple[int, ...]]]
) -> ObjectsAndParts:
    encoded = _Encoder().encode([parse_query(phrase) for phrase in phrases])
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    given = objects_from_boxes(objects, SIDE, SIDE)
    return search.find(image, encoded, SegmentOptions(), given)


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
