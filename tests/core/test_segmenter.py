"""One image is encoded once, whatever is asked of it, and masks come out at the image's own size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.toy_models import toy, write_toy

from ovps_core import PartMask, PartQuery, PartSegmenter, SegmentOptions, parse_query
from ovps_core.errors import BackendError, CheckpointError, ImageError, QueryError
from ovps_core.models.interface import query_logits
from ovps_core.pipeline.postprocess.components import part_masks, sample_bilinear

OBJECTS = ("knife", "mug", "pan", "kettle")
PARTS = ("handle", "rim", "blade", "lid")
SIXTEEN = [PartQuery(f"{o} {p}", object=o, part=p) for o in OBJECTS for p in PARTS]
EVERYTHING = SegmentOptions(score_threshold=0.0, mask_threshold=0.0, min_area=1)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["clipseg", "partclipseg"])
def segmenter(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> PartSegmenter:
    path = write_toy(request.param, tmp_path_factory.mktemp("weights") / "small.safetensors")
    return PartSegmenter.from_pretrained(str(path))


@pytest.mark.parametrize("family", ["clipseg", "partclipseg"])
@torch.no_grad()
def test_sixteen_queries_encode_the_image_once_and_equal_sixteen_single_runs(
    family: str,
) -> None:
    model, query_encoder, _ = toy(family)
    pixels = torch.randn(1, 3, 96, 96)
    images = []
    model.backbone.register_forward_hook(lambda *_: images.append(1))

    encoded = query_encoder.encode(SIXTEEN)
    together = query_logits(
        model.decode(model.encode(pixels), encoded.conditions), encoded.query_rows
    )
    assert len(images) == 1

    for row, query in enumerate(SIXTEEN):
        single = query_encoder.encode([query])
        alone = query_logits(
            model.decode(model.encode(pixels), single.conditions), single.query_rows
        )
        torch.testing.assert_close(together[:, row], alone[:, 0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (352, 224)])
@torch.no_grad()
def test_maps_have_the_size_of_any_input(size: tuple[int, int]) -> None:
    model, query_encoder, _ = toy("partclipseg")
    encoded = query_encoder.encode(SIXTEEN[:2])
    logits = model.decode(model.encode(torch.randn(2, 3, *size)), encoded.conditions)
    assert logits.object_parts.shape == (2, 2, *size)


def test_masks_lie_in_the_image(segmenter: PartSegmenter, photo: np.ndarray) -> None:
    result = segmenter.segment(photo, "knife handle, mug rim; handle\nknife", EVERYTHING)
    assert (result.height, result.width) == photo.shape[:2]
    assert [q.text for q in result.queries] == ["knife handle", "mug rim", "handle", "knife"]
    assert result.parts
    assert [p.score for p in result.parts] == sorted((p.score for p in result.parts), reverse=True)
    for part in result.parts:
        assert part.mask.shape == (part.box.height, part.box.width)
        assert part.mask.any(axis=0).all() or part.mask.any(axis=1).all()
        assert part.mask[0].any() and part.mask[-1].any()
        assert part.mask[:, 0].any() and part.mask[:, -1].any()
        assert part.full(result.height, result.width).sum() == part.area


def test_nothing_asked_and_nothing_found_are_answers(
    segmenter: PartSegmenter, photo: np.ndarray
) -> None:
    assert segmenter.segment(photo, []).parts == ()
    strict = SegmentOptions(mask_threshold=1.0)
    result = segmenter.segment(photo, ["knife handle"], strict)
    assert result.parts == () and len(result.queries) == 1


def test_a_batch_equals_single_images(segmenter: PartSegmenter, photo: np.ndarray) -> None:
    images = [photo, photo[::-1].copy(), np.ascontiguousarray(photo[:77, :91])]
    together = segmenter.segment_batch(images, ["mug rim"], EVERYTHING)
    for image, result in zip(images, together, strict=True):
        alone = segmenter.segment(image, ["mug rim"], EVERYTHING)
        np.testing.assert_array_equal(result.label_image() > 0, alone.label_image() > 0)


def test_probabilities_are_what_masks_are_cut_from(
    segmenter: PartSegmenter, photo: np.ndarray
) -> None:
    (probability,) = segmenter.probabilities(photo, ["mug rim"])
    median = float(np.median(probability))
    options = SegmentOptions(score_threshold=0.0, mask_threshold=median, min_area=1, max_parts=1000)
    mask = segmenter.segment(photo, ["mug rim"], options).mask_of("mug rim")
    assert (mask == (probability > median)).mean() > 0.999


def test_words_are_encoded_when_they_change_not_per_frame(
    segmenter: PartSegmenter, photo: np.ndarray
) -> None:
    calls = []
    hook = segmenter.query_encoder.text_encoder.tower.register_forward_hook(
        lambda *_: calls.append(1)
    )
    for _ in range(3):
        segmenter.segment(photo, ["turquoise lever", "mug rim"])
    hook.remove()
    assert len(calls) <= 1


def test_pieces_are_kept_by_area_score_and_number() -> None:
    logits = np.full((1, 40, 40), -5.0, dtype=np.float32)
    logits[0, 2:12, 2:12] = 5.0
    logits[0, 20:26, 20:26] = 1.0
    query = parse_query("handle")

    def cut(options: SegmentOptions, query: PartQuery = query) -> tuple[PartMask, ...]:
        return part_masks(logits, [query], 40, 40, options, "m").parts

    assert len(cut(SegmentOptions())) == 2
    assert len(cut(SegmentOptions(min_area=50))) == 1
    assert len(cut(SegmentOptions(score_threshold=0.9))) == 1
    assert len(cut(SegmentOptions(max_parts=1))) == 1
    assert len(cut(SegmentOptions(), PartQuery("handle", part="handle", max_parts=1))) == 1
    assert len(cut(SegmentOptions(), PartQuery("handle", part="handle", threshold=0.9))) == 1


def test_a_query_finds_its_own_parts_and_a_text_those_of_all_that_say_it() -> None:
    thing, part = PartQuery("bowl", object="bowl"), PartQuery("bowl", part="bowl")
    logits = np.full((2, 40, 40), 5.0, dtype=np.float32)
    masks = part_masks(logits, [thing, part], 40, 40, SegmentOptions(), "m")
    assert [found.query for found in masks.of(part)] == [part]
    assert [found.query for found in masks.of("bowl")] == [thing, part]


def test_a_map_of_specks_gives_what_cutting_and_scoring_each_would() -> None:
    specks = np.random.default_rng(2).normal(size=(2, 88, 88)).astype(np.float32)
    queries = [PartQuery("a", part="a", max_parts=40), PartQuery("b", part="b", threshold=0.74)]
    options = SegmentOptions(min_area=40, max_parts=30)
    expected = []
    for query, coarse in zip(queries, specks, strict=True):
        fine = sample_bilinear(coarse, 480, 640, slice(0, 480), slice(0, 640))
        count, labels = cv2.connectedComponents((fine > 0).astype(np.uint8))
        pieces = [labels == label for label in range(1, count)]
        scored = [(float((1 / (1 + np.exp(-fine[p]))).mean()), p) for p in pieces if p.sum() >= 40]
        kept = [piece for piece in scored if piece[0] >= (query.threshold or 0.5)]
        expected += sorted(kept, key=lambda piece: -piece[0])[: query.max_parts or None]
    expected = sorted(expected, key=lambda piece: -piece[0])[:30]

    found = part_masks(specks, queries, 480, 640, options, "m").parts
    assert len(found) == 30 and {part.query.text for part in found} == {"a", "b"}
    np.testing.assert_allclose([p.score for p in found], [e[0] for e in expected], atol=1e-6)
    for part, (_, mask) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part.full(480, 640), mask)


@pytest.mark.parametrize("full", [(480, 641), (480, 640), (720, 1280), (11, 15), (88, 88)])
def test_upsampling_a_window_equals_torch(full: tuple[int, int]) -> None:
    height, width = full
    coarse = np.random.default_rng(1).normal(size=(88, 88)).astype(np.float32)
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(coarse)[None, None], full, mode="bilinear"
    )
    rows, columns = slice(height // 5, height // 2), slice(5, width - 3)
    window = sample_bilinear(coarse, height, width, rows, columns)
    np.testing.assert_allclose(window, whole[0, 0, rows, columns].numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_a_bad_image_is_named(segmenter: PartSegmenter, image: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"expected uint8 \[H, W, 3\]"):
        segmenter.segment(image, "knife")


def test_what_cannot_be_had_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="did you mean 'ovps-tiny'"):
        PartSegmenter.from_pretrained("ovps-tny")
    with pytest.raises(CheckpointError, match="ovps convert"):
        PartSegmenter.from_pretrained("partclipseg-pascal116")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="damaged"):
        PartSegmenter.from_pretrained(str(damaged))
    small = write_toy("clipseg", tmp_path / "small.safetensors")
    with pytest.raises(BackendError, match="known are"):
        PartSegmenter.from_pretrained(str(small), backend="abacus")
    with pytest.raises(QueryError):
        PartSegmenter.from_pretrained(str(small)).encode_queries("")
