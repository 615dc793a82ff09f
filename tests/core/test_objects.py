"""The packaged model with objects: each part belongs to one, and nothing changes without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.toy_models import write_toy

from ovps_core.errors import QueryError, UsageError
from ovps_core.objects.object_parts import ObjectOptions
from ovps_core.pipeline.objects import objects_from_boxes
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.image_files import load_image

TABLE = ROOT / "docs" / "images" / "table.jpg"
QUERIES = ["knife handle", "mug handle"]


@pytest.fixture(scope="module")
def segmenter() -> PartSegmenter:
    """The packaged model with its own instances."""
    return PartSegmenter.from_pretrained(backend="torch", objects="own")


@pytest.fixture(scope="module")
def plain() -> PartSegmenter:
    """The packaged model alone."""
    return PartSegmenter.from_pretrained(backend="torch")


def test_every_part_belongs_to_an_object_of_its_name_and_lies_near_it(
    segmenter: PartSegmenter,
) -> None:
    masks = segmenter.segment(TABLE, QUERIES)
    objects = {found.id: found for found in masks.objects}
    assert {found.name for found in objects.values()} <= {"knife", "mug"}
    assert {part.query.object for part in masks.parts} == {"knife", "mug"}
    for part in masks.parts:
        owner = objects[part.object_id]
        assert owner.name == part.query.object
        assert owner.box.intersection(part.box)
        assert part.margin <= part.score
    assert [part.id for part in masks.parts] == list(range(1, len(masks.parts) + 1))


def test_the_node_and_python_see_no_objects_without_an_object_model(plain: PartSegmenter) -> None:
    masks = plain.segment(TABLE, QUERIES)
    assert masks.objects == () and {part.object_id for part in masks.parts} == {0}
    with pytest.raises(UsageError, match="objects='own'"):
        plain.segment(TABLE, QUERIES, objects=())


def test_given_objects_are_the_only_ones_and_keep_their_ids_and_synonyms(
    segmenter: PartSegmenter, plain: PartSegmenter
) -> None:
    image = load_image(TABLE)
    box = plain.segment(image, "mug").parts[0].box
    (mug,) = objects_from_boxes([("cup", box.corners)], *image.shape[:2])
    masks = segmenter.segment(image, QUERIES, objects=[replace(mug, id=7)])
    assert [(found.id, found.name) for found in masks.objects] == [(7, "mug")]
    assert {(part.object_id, part.query.text) for part in masks.parts} == {(7, "mug handle")}
    nothing = segmenter.segment(image, QUERIES, objects=[])
    assert nothing.objects == () and nothing.parts == ()


def test_all_parts_of_an_object_are_found_with_one_phrase(plain: PartSegmenter) -> None:
    masks = plain.segment(TABLE, "all parts of the mug")
    assert {query.part for query in masks.queries} == {"handle", "rim", "body"}
    found = {part.query.part for part in masks.of("all parts of the mug")}
    assert len(found) >= 2


def test_position_words_need_objects_and_the_refusal_says_so(
    segmenter: PartSegmenter, plain: PartSegmenter
) -> None:
    assert segmenter.encode_queries("left mug handle").queries[0].which == "left"
    with pytest.raises(QueryError, match=r"'left'.*object model"):
        plain.encode_queries("left mug handle")
    with pytest.raises(
        QueryError, match="'nearest' needs depth, and there is none; choose by place"
    ):
        segmenter.encode_queries("nearest mug handle")
    deep = PartSegmenter.from_pretrained(backend="torch", objects="own", depth=True)
    assert deep.encode_queries("nearest handle").queries[0].which == "nearest"


def test_the_whole_image_is_looked_at_once_without_crops() -> None:
    fast = PartSegmenter.from_pretrained(
        backend="torch", objects="own", object_options=ObjectOptions(crops=False, max_objects=1)
    )
    masks = fast.segment(np.zeros((120, 160, 3), np.uint8), QUERIES)
    assert masks.parts == () and masks.objects == ()
    assert len(fast.segment(TABLE, QUERIES).objects) == 1


def test_an_encoded_image_gives_the_same_parts(segmenter: PartSegmenter) -> None:
    encoded = segmenter.encode(TABLE)
    once, twice = segmenter.segment(TABLE, QUERIES), segmenter.segment(encoded, QUERIES)
    assert [part.box for part in once.parts] == [part.box for part in twice.parts]


def test_any_words_model_finds_parts_in_given_boxes(toy_weights: Path) -> None:
    toy = PartSegmenter.from_pretrained(toy_weights, backend="torch", objects="own")
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    given = objects_from_boxes([("kettle", (10, 10, 90, 100))], 120, 160)
    masks = toy.segment(image, ["kettle spout", "lid", "all parts of the mug"], objects=given)
    assert {query.label for query in masks.queries} == {
        *("kettle spout", "lid", "mug handle", "mug rim", "mug body"),
    }
    assert {part.object_id for part in masks.of("kettle spout")} <= {1}
    assert {part.object_id for part in masks.of("lid")} <= {0}  # it names no object


def test_an_object_model_gives_the_objects_and_is_named_with_the_part_model(
    tmp_path: Path,
) -> None:
    weights = write_toy("openseed", tmp_path / "objects.safetensors")
    both = PartSegmenter.from_pretrained(backend="torch", device="cpu", objects=weights)
    assert both.name.startswith("ovps-tiny") and " + toy-openseed" in both.name
    masks = both.segment(TABLE, QUERIES)
    assert {found.name for found in masks.objects} <= {"knife", "mug"}
    assert {part.object_id for part in masks.parts} <= {found.id for found in masks.objects}


@pytest.mark.parametrize("family", ["partcatseg", "catseg"])
def test_a_model_that_compares_names_compares_those_of_one_object_only(
    family: str, tmp_path: Path
) -> None:
    weights = write_toy(family, tmp_path / "toy.safetensors")
    toy = PartSegmenter.from_pretrained(weights, backend="torch", objects="own")
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    boxes = [("kettle", (10, 10, 90, 100)), ("mug", (100, 20, 150, 90))]
    given = objects_from_boxes(boxes, 120, 160)
    anything = SegmentOptions(score_threshold=0.0, min_area=1)

    def best(*queries: str) -> dict[tuple[str, int], float]:
        """The highest score of each query in each object."""
        parts = toy.segment(image, queries, anything, objects=given).parts
        return {(part.query.text, part.object_id): part.score for part in reversed(parts)}

    alone, beside_a_mug = best("kettle spout"), best("kettle spout", "mug rim")
    assert set(beside_a_mug) == {("kettle spout", 1), ("mug rim", 2)}
    spout = pytest.approx(alone["kettle spout", 1], abs=1e-5)
    assert beside_a_mug["kettle spout", 1] == spout
    assert best("kettle spout", "kettle lid")["kettle spout", 1] != spout
    found = toy.segment(image, ["kettle spout"], anything)
    assert found.objects and {one.name for one in found.objects} == {"kettle"}
