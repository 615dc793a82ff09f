"""Objects and stuff by name, with any words, sizes and devices that a caller has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.toy_models import write_toy

from ovps_core import ObjectSegmenter, PartSegmenter
from ovps_core.errors import BackendError, CheckpointError, ImageError, QueryError, UsageError
from ovps_core.language.object_names import ObjectNames
from ovps_core.models.openseed.text import TEMPLATES
from ovps_core.objects.object_sources import DetectedObjects
from ovps_core.pipeline.objects import objects_from_boxes
from ovps_core.pipeline.postprocess.panoptic_options import PanopticOptions
from ovps_core.structures.query import PartQuery

NAMES = ["knife", "mug"]
EVERYTHING = PanopticOptions(score_threshold=0.0, mask_threshold=0.5, overlap_threshold=0.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy("openseed", tmp_path_factory.mktemp("weights") / "objects.safetensors")


@pytest.fixture(scope="module")
def segmenter(weights: Path) -> ObjectSegmenter:
    return ObjectSegmenter.from_pretrained(weights)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (75, 101, 3), dtype=np.uint8)


def test_instances_have_a_name_a_score_a_box_and_a_mask(
    segmenter: ObjectSegmenter, photo: np.ndarray
) -> None:
    found = segmenter.detect(photo, NAMES, score_threshold=0.0, max_objects=20)
    assert (found.height, found.width, found.names) == (75, 101, ("knife", "mug"))
    assert 0 < len(found.objects) <= 20
    scores = [each.score for each in found.objects]
    assert scores == sorted(scores, reverse=True)
    for number, each in enumerate(found.objects, 1):
        assert each.id == number and each.name in NAMES and each.is_thing
        assert each.mask.shape == (each.box.height, each.box.width)
        for edge in (each.mask[0], each.mask[-1], each.mask[:, 0], each.mask[:, -1]):
            assert edge.any()  # the box is tight
        assert each.predicted_box is not None and len(each.predicted_box) == 4
        assert each.full(75, 101).sum() == each.area
    assert found.model.startswith("toy-openseed (sha256 ")


def test_boxes_alone_are_those_of_the_instances(
    segmenter: ObjectSegmenter, photo: np.ndarray
) -> None:
    found = segmenter.detect_boxes(photo, NAMES, score_threshold=0.0, max_objects=20)
    with_masks = segmenter.detect(photo, NAMES, score_threshold=0.0, max_objects=20)
    assert len(found) == 20
    assert [each.score for each in found] == sorted((b.score for b in found), reverse=True)
    assert {each.predicted_box for each in with_masks.objects} <= {b.corners for b in found}
    with pytest.raises(UsageError, match="expected 1 or more"):
        segmenter.detect_boxes(photo, NAMES, max_objects=0)


def test_thresholds_and_stuff_only_remove_instances(
    segmenter: ObjectSegmenter, photo: np.ndarray
) -> None:
    everything = segmenter.detect(photo, NAMES, score_threshold=0.0)
    threshold = float(np.median([each.score for each in everything.objects]))
    best = segmenter.detect(photo, NAMES, score_threshold=threshold)
    assert [each.score for each in best.objects] == [
        each.score for each in everything.objects if each.score >= threshold
    ]
    beside_stuff = segmenter.detect(photo, ObjectNames.of("knife", "mug"), score_threshold=0.0)
    assert {each.name for each in beside_stuff.objects} == {"knife"}


def test_an_encoded_image_answers_like_the_image(
    segmenter: ObjectSegmenter, photo: np.ndarray
) -> None:
    encoded = segmenter.encode(photo)
    for names in (NAMES, "bowl, tray"):
        direct = segmenter.detect(photo, names, score_threshold=0.0)
        again = segmenter.detect(encoded, names, score_threshold=0.0)
        assert [each.score for each in direct.objects] == [each.score for each in again.objects]


def test_panoptic_segments_do_not_overlap_and_stuff_is_one_region_per_name(
    segmenter: ObjectSegmenter, photo: np.ndarray
) -> None:
    found = segmenter.panoptic(photo, NAMES, ["wall", "floor"], options=EVERYTHING)
    assert found.names == ("knife", "mug", "wall", "floor")
    assert sum(each.full(75, 101).astype(int) for each in found.objects).max() == 1
    stuff = [each.name for each in found.objects if not each.is_thing]
    assert len(stuff) == len(set(stuff)) and set(stuff) <= {"wall", "floor"}
    ids = found.label_image()
    for each in found.objects:
        np.testing.assert_array_equal(ids == each.id, each.full(75, 101))


def test_semantic_gives_every_pixel_one_name(segmenter: ObjectSegmenter, photo: np.ndarray) -> None:
    found = segmenter.semantic(photo, NAMES, "wall")
    total = sum(each.full(75, 101).astype(int) for each in found.objects)
    np.testing.assert_array_equal(total, 1)
    assert len({each.name for each in found.objects}) == len(found.objects)


def test_masks_are_decoded_from_boxes_and_names(
    segmenter: ObjectSegmenter, photo: np.ndarray
) -> None:
    boxes = [(10, 10, 60, 50), (30, 20, 100, 70), (10, 10, 60, 50)]
    found = segmenter.decode_masks(photo, boxes, ["handle", "blade", "rim"])
    assert {each.id for each in found.objects} <= {1, 2, 3}
    assert all(each.name == ["handle", "blade", "rim"][each.id - 1] for each in found.objects)
    assert not segmenter.decode_masks(photo, [], []).objects
    with pytest.raises(UsageError, match="2 boxes and 1 names"):
        segmenter.decode_masks(photo, boxes[:2], ["handle"])
    with pytest.raises(UsageError, match="no area"):
        segmenter.decode_masks(photo, [(5, 5, 5, 9)], ["handle"])


@pytest.mark.parametrize(
    "box",
    [
        (500, 500, 600, 600),
        (-20, 5, 0, 9),
        (0, 0, float("inf"), 50),
        (float("nan"), 0, 5, 5),
        (0, 0, 5),
        (0, 0, 5, 5, 1, 1, 9, 9),
    ],
)
def test_a_box_that_is_not_in_the_picture_is_refused_by_name(
    segmenter: ObjectSegmenter, photo: np.ndarray, box: tuple[float, ...]
) -> None:
    with pytest.raises(UsageError, match="of 'handle' has no area in an image of 101x75"):
        segmenter.decode_masks(photo, [(10, 10, 60, 50), box], ["blade", "handle"])
    with pytest.raises(UsageError, match="of 'handle' has no area in an image of 101x75"):
        objects_from_boxes([("handle", box)], 75, 101)
    segmenter.decode_masks(photo, [(-20, -20, 60, 500)], ["handle"])  # it reaches beyond


LONG = "heavy old rusty iron cast hammer with a long curved wooden ash handle and a"


def test_names_that_the_model_would_cut_are_refused(
    segmenter: ObjectSegmenter, weights: Path, photo: np.ndarray
) -> None:
    names = [f"{LONG} knife", f"{LONG} spoon"]
    for ask in (segmenter.detect, segmenter.detect_boxes, segmenter.panoptic, segmenter.semantic):
        with pytest.raises(QueryError, match=r"heavy old .*\n.*too long for the 18 tokens"):
            ask(photo, names)
    with pytest.raises(QueryError, match="use fewer words"):
        segmenter.decode_masks(photo, [(0, 0, 9, 9)], names[:1])
    with pytest.raises(QueryError, match="'' is an empty name"):
        segmenter.decode_masks(photo, [(0, 0, 9, 9)], [""])
    assert DetectedObjects(segmenter).refusal_of(names[0])
    clipseg = write_toy("clipseg", weights.with_name("clipseg.safetensors"))
    parts = PartSegmenter.from_pretrained(clipseg, backend="torch", objects=weights)
    asked = PartQuery("hammer", object=names[0], part="handle")
    encoded = parts.encode_queries([asked, "knife handle"])
    assert [each.reason for each in encoded.refused] == [parts.read([asked])[1][0].reason]
    assert "use fewer words" in encoded.refused[0].reason
    assert [query.object for query in encoded.queries] == ["knife"]


def test_a_name_fits_if_no_prompt_cuts_it(segmenter: ObjectSegmenter) -> None:
    encoder = segmenter.text_encoder
    assert encoder.fits("passenger car (part of a train)")  # the longest name of LVIS
    for words, fits in ((7, True), (8, False)):
        names = [" ".join(["knife"] * words + [last]) for last in ("spoon", "fork")]
        spoon, fork = (encoder.tokenizer([t(name) for t in TEMPLATES]) for name in names)
        assert (spoon != fork).any(1).all() == fits
        assert encoder.fits(names[0]) == fits


@pytest.mark.parametrize("share", [float("nan"), 2, -0.1])
def test_thresholds_out_of_range_are_refused(
    segmenter: ObjectSegmenter, photo: np.ndarray, share: float
) -> None:
    for ask in (segmenter.detect, segmenter.detect_boxes):
        with pytest.raises(UsageError, match=r"score_threshold is .*; expected 0 to 1"):
            ask(photo, NAMES, score_threshold=share)
    for name in ("score_threshold", "mask_threshold", "overlap_threshold"):
        with pytest.raises(UsageError, match=rf"{name} is .*; expected 0 to 1"):
            PanopticOptions(**{name: share})


@pytest.mark.parametrize("size", [(33, 300), (64, 64), (200, 31)])
def test_images_of_any_size(segmenter: ObjectSegmenter, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 128, dtype=np.uint8)
    found = segmenter.semantic(image, NAMES)
    assert (found.height, found.width) == size


def test_names_are_encoded_once(segmenter: ObjectSegmenter, photo: np.ndarray) -> None:
    calls = []
    encoder = segmenter.text_encoder
    hook = encoder.tower.register_forward_hook(lambda *_: calls.append(1))
    for names in (["purple teapot"], ["purple teapot", "mug"], ["mug", "purple teapot"]):
        segmenter.detect(photo, names)
    hook.remove()
    assert len(calls) <= 1


def test_names_are_read_from_texts_and_lists() -> None:
    asked = ObjectNames.of(["knife, mug", "knife"], "wall; floor")
    assert asked == ObjectNames(("knife", "mug"), ("wall", "floor"))
    for nothing in ([], "", ["knife", " "]):
        with pytest.raises(QueryError):
            ObjectNames.of(nothing)
    with pytest.raises(QueryError, match="at most 200"):
        ObjectNames.of("x" * 201)


def test_what_cannot_be_had_is_said(weights: Path, photo: np.ndarray) -> None:
    with pytest.raises(UsageError, match="ovps segment"):
        ObjectSegmenter.from_pretrained("ovps-tiny")
    with pytest.raises(CheckpointError, match=r"github\.com/IDEA-Research/OpenSeeD/releases"):
        ObjectSegmenter.from_pretrained("openseed-swint")
    with pytest.raises(UsageError, match="short_side is 8"):
        ObjectSegmenter.from_pretrained(weights, short_side=8)
    with pytest.raises(ImageError):
        ObjectSegmenter.from_pretrained(weights).encode(photo[..., :2])


def test_the_part_segmenter_answers_with_it(weights: Path, photo: np.ndarray) -> None:
    segmenter = PartSegmenter.from_pretrained(weights, backend="torch")
    assert len(segmenter.segment(photo, ["knife handle", "mug"]).queries) == 2
    with pytest.raises(BackendError, match="not compiled"):
        PartSegmenter.from_pretrained(weights, backend="compiled")
