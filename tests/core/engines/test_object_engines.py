"""Every engine finds the objects that PyTorch finds in fp32, with the same boxes and masks."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.toy_models import toy, toy_openseed
from torch import Tensor

from ovps_core import ObjectSegmenter
from ovps_core.engines import EngineCache, make_engine
from ovps_core.engines.interface import Engine
from ovps_core.errors import BackendError
from ovps_core.models.interface import Conditions
from ovps_core.models.objects import ObjectPredictions, ObjectQueries
from ovps_core.models.openseed.model import OpenSeeD
from ovps_core.pipeline.postprocess.instances import instances, keep_best
from ovps_core.pipeline.postprocess.panoptic import keep_all
from ovps_core.profiling.objects import matched

SIZE = (64, 96)
ENGINES = ("onnxruntime", "openvino")


@pytest.fixture(scope="module")
def model() -> OpenSeeD:
    return toy_openseed()


@pytest.fixture(scope="module")
def builds() -> list[str]:
    """Steps of all builds so far."""
    return []


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest,
    model: OpenSeeD,
    builds: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    if not importlib.util.find_spec(request.param):
        pytest.skip(f"{request.param} is not installed")
    cache = EngineCache(tmp_path_factory.mktemp("engines"), progress=builds.append)
    yield make_engine(
        model, backend=request.param, device="cpu", precision="fp32", engine_cache=cache
    )


def pixels(batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def names(count: int) -> Tensor:
    vectors = torch.randn(count, 32, generator=torch.Generator().manual_seed(count))
    return torch.nn.functional.normalize(vectors, dim=-1)


def best(found: ObjectQueries) -> Tensor:
    return keep_best(found, max_instances=30, score_threshold=0.0)


def assert_same_objects(found: ObjectPredictions, expected: ObjectPredictions) -> None:
    ious, errors = matched(found, expected, SIZE)
    assert found.scores.shape == expected.scores.shape
    assert errors.max() <= 1.0 and ious.min() >= 0.99, (errors.max(), ious.min())


@pytest.mark.slow  # the first test of each engine builds it
@pytest.mark.timeout(600)
def test_boxes_and_masks_of_kept_objects_agree(engine: Engine, model: OpenSeeD) -> None:
    expected = make_engine(model, backend="torch", device="cpu", precision="fp32")
    with expected.encoded(pixels()) as ours, engine.encoded(pixels()) as theirs:
        for keep in (best, keep_all):
            found = engine.detect(theirs, names(5), keep)
            assert_same_objects(found, expected.detect(ours, names(5), keep))
    assert found.instances == found.scores.shape[1] - 100  # the last queries are stuff


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_other_names_need_no_other_build(
    engine: Engine, model: OpenSeeD, builds: list[str]
) -> None:
    features = engine.encode_image(pixels())
    done = len(builds)
    for count in (1, 7, 40):
        with engine.encoded(features):
            found = engine.detect(features, names(count), best)
        with torch.inference_mode():
            expected = model.detect(model.encode(pixels()), names(count))
        assert found.scores.shape[2] == count
        assert matched(found, expected, SIZE)[1].median() <= 50  # all were compared
        kept = best(model.find_queries(model.encode(pixels()), names(count)))
        reduced = ObjectPredictions(
            expected.boxes_cxcywh[:, kept], expected.scores[:, kept], expected.mask_logits[:, kept]
        )
        assert_same_objects(found, reduced)
    assert len(builds) == done


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_masks_from_names_and_boxes_agree(engine: Engine, model: OpenSeeD) -> None:
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.4], [0.3, 0.6, 0.2, 0.5], [0.7, 0.3, 0.5, 0.3]]])
    for count in (1, 3):
        asked = boxes[:, :count], names(3)[None, :count]
        with engine.encoded(pixels()) as features:
            found = engine.decode_masks(features, *asked)
        with torch.inference_mode():
            expected = model.decode_masks(model.encode(pixels()), *asked)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_kept_and_several_images(engine: Engine, model: OpenSeeD) -> None:
    with engine.encoded(pixels()) as features:
        nothing = engine.detect(features, names(2), lambda _: torch.zeros(0, dtype=torch.int64))
    assert nothing.mask_logits.shape == (1, 0, 16, 24)
    asked = Conditions.names_only(names(3))
    with torch.inference_mode():
        expected = model.decode(model.encode(pixels(2)), asked).names
    found = engine.run(pixels(2), asked).names
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_segmenter_answers_alike_on_every_engine(engine: Engine) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    loaded = toy("openseed")
    segmenters = [
        ObjectSegmenter(loaded._replace(model=toy_openseed()), each)
        for each in (make_engine(toy_openseed(), backend="torch"), engine)
    ]
    reference, found = (
        segmenter.detect(photo, ["knife", "mug"], score_threshold=0.0, max_objects=20)
        for segmenter in segmenters
    )
    assert len(found.objects) == len(reference.objects) > 0
    for ours, theirs in zip(found.objects, reference.objects, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-3)
        assert ours.predicted_box == pytest.approx(theirs.predicted_box, abs=1.0)


def test_queries_that_are_kept_are_those_that_are_read(model: OpenSeeD) -> None:
    from ovps_core.pipeline.canvas import Canvas

    engine = make_engine(model, backend="torch", device="cpu")
    canvas = Canvas(SIZE, SIZE, (128, 192))
    with engine.encoded(pixels()) as features:
        all_masks = instances(engine.detect(features, names(5), keep_all), canvas, max_instances=30)
        kept_masks = instances(engine.detect(features, names(5), best), canvas, max_instances=30)
    torch.testing.assert_close(kept_masks.boxes, all_masks.boxes)
    torch.testing.assert_close(kept_masks.scores, all_masks.scores)
    assert kept_masks.masks is not None and all_masks.masks is not None
    assert torch.equal(kept_masks.masks, all_masks.masks)


def test_a_model_of_parts_finds_no_objects() -> None:
    engine = make_engine(toy("compact").model, backend="torch", device="cpu")
    features = engine.encode(torch.zeros(1, 3, 64, 96))
    with pytest.raises(BackendError, match="finds parts, not objects"):
        engine.find_queries(features, names(1))
    with pytest.raises(BackendError, match="not compiled"):
        make_engine(toy_openseed(), backend="compiled", device="cpu")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_built_engines_are_found_again(
    engine: Engine, model: OpenSeeD, builds: list[str], tmp_path: Path
) -> None:
    del tmp_path
    done = len(builds)
    again = make_engine(
        model,
        backend=engine.name,
        device="cpu",
        precision="fp32",
        engine_cache=engine._engine_cache,  # type: ignore[attr-defined]
    )
    again.encode_image(pixels())
    assert len(builds) == done
