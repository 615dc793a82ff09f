"""The packaged kind of model: known words only, one encoding for any number of queries, exportable."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovps_core.checkpoints.file import CheckpointInfo, load_model, save_model
from ovps_core.checkpoints.registry import find_weights
from ovps_core.errors import BackendError, QueryError
from ovps_core.language.parser import parse_queries
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.models.compact.image_prior import box_mean
from ovps_core.models.compact.model import PartFPN
from ovps_core.models.compact.query_encoder import VocabularyEncoder
from ovps_core.models.interface import query_logits
from ovps_core.pipeline.preprocess import to_pixels
from ovps_core.segmenter import PartSegmenter

CONFIG = PartFPNConfig(
    objects=("knife", "mug", "pot"),
    parts=("blade", "handle", "knob"),
    object_parts=(("knife", "blade"), ("knife", "handle"), ("mug", "handle")),
    size=(64, 96),
    trunk="test_efficientnet",
    dim=8,
)
ENCODER = VocabularyEncoder(CONFIG.vocabulary)
QUERIES = ["knife blade", "mug handle", "pot knob", "mug", "handle", "pot handle"]


@pytest.fixture(scope="module")
def model() -> PartFPN:
    torch.manual_seed(0)
    return PartFPN(CONFIG).eval().requires_grad_(False)


def test_many_queries_cost_one_encoding_and_agree_with_asking_one_by_one(model: PartFPN) -> None:
    features = model.encode(torch.randn(2, 3, 64, 96))

    def ask(texts: list[str]) -> torch.Tensor:
        encoded = ENCODER.encode(parse_queries(texts))
        return query_logits(model.decode(features, encoded.conditions), encoded.query_rows)

    together = ask(QUERIES)
    assert together.shape == (2, len(QUERIES), 16, 24)
    torch.testing.assert_close(together, torch.cat([ask([text]) for text in QUERIES], dim=1))


def test_names_are_probabilities_and_leave_room_for_background(model: PartFPN) -> None:
    encoded = ENCODER.encode(parse_queries(list(CONFIG.objects)))
    logits = model.decode(model.encode(torch.randn(1, 3, 64, 96)), encoded.conditions)
    total = logits.names.sigmoid().sum(dim=1)
    assert (total > 0).all() and (total < 1 + 1e-3).all()


def test_a_pair_never_trained_lies_between_its_object_and_its_part(model: PartFPN) -> None:
    encoded = ENCODER.encode(parse_queries(["pot knob", "pot", "knob"]))
    logits = model.decode(model.encode(torch.randn(1, 3, 64, 96)), encoded.conditions)
    pair, pot, knob = query_logits(logits, encoded.query_rows)[0]
    assert (pair <= torch.maximum(pot, knob) + 1e-4).all()  # never trained: between the two
    assert (pair >= torch.minimum(pot, knob) - 1e-4).all()


def test_an_unknown_word_is_refused_and_the_message_names_known_ones(model: PartFPN) -> None:
    with pytest.raises(QueryError, match="knife"):
        ENCODER.encode(parse_queries(["zeppelin handle"]))


def test_any_input_size_works(model: PartFPN) -> None:
    features = model.encode(torch.randn(1, 3, 96, 160))
    assert features.levels[0].shape[-2:] == (24, 40) and features.size == (96, 160)


def test_test_time_augmentation_is_mirrored_and_half_as_large(model: PartFPN) -> None:
    twice = PartFPN(replace(CONFIG, half_scale=True, prior_strength=0.0)).eval()
    once = PartFPN(replace(CONFIG, flip_tta=False, prior_strength=0.0)).eval()
    twice.load_state_dict(model.state_dict())
    once.load_state_dict(model.state_dict())
    pixels = torch.randn(1, 3, 64, 128)
    with torch.inference_mode():
        first, both = once.encode(pixels).levels[0], twice.encode(pixels).levels[0]
        second = once.encode(F.avg_pool2d(pixels, 2).flip(-1)).levels[0].flip(-1)
    second = F.interpolate(second, size=first.shape[-2:], mode="bilinear")
    names = slice(len(CONFIG.objects) + len(CONFIG.parts))
    torch.testing.assert_close(both[:, names], (first + second)[:, names] / 2)


def test_test_time_augmentation_swaps_left_and_right_names() -> None:
    sides = PartFPNConfig(
        ("car",), ("left door", "right door"), (("car", "left door"), ("car", "right door"))
    )
    torch.manual_seed(0)
    model = PartFPN(
        replace(CONFIG, **{n: getattr(sides, n) for n in ("objects", "parts", "object_parts")})
    )
    model.eval().requires_grad_(False)
    pixels = torch.randn(1, 3, 64, 96)
    looked, mirrored = (model.encode(each).levels[0] for each in (pixels, pixels.flip(-1)))
    swapped = [0, 2, 1, 4, 3]  # the car, its doors as parts, its doors as classes
    torch.testing.assert_close(mirrored.flip(-1)[:, swapped], looked)


def test_calibration_moves_every_answer_alike(model: PartFPN) -> None:
    shifted = PartFPN(replace(CONFIG, shift=1.5)).eval().requires_grad_(False)
    shifted.load_state_dict(model.state_dict())
    conditions = ENCODER.encode(parse_queries(QUERIES)).conditions
    pixels = torch.randn(1, 3, 64, 96)
    before = model.decode(model.encode(pixels), conditions)
    after = shifted.decode(shifted.encode(pixels), conditions)
    torch.testing.assert_close(after.names, before.names + 1.5)
    torch.testing.assert_close(after.object_parts, before.object_parts + 1.5)


def test_caution_is_for_compositions_never_trained_only(model: PartFPN) -> None:
    cautious = PartFPN(replace(CONFIG, unseen_pair_penalty=2.0)).eval().requires_grad_(False)
    cautious.load_state_dict(model.state_dict())
    encoded = ENCODER.encode(parse_queries(["knife blade", "pot knob", "mug"]))
    pixels = torch.randn(1, 3, 64, 96)
    before, after = (
        query_logits(
            network.decode(network.encode(pixels), encoded.conditions), encoded.query_rows
        )[0]
        for network in (model, cautious)
    )
    torch.testing.assert_close(
        after - before, torch.tensor([0.0, -2.0, 0.0]).view(3, 1, 1) + 0 * after
    )


def test_half_weights_load_into_a_full_precision_network(model: PartFPN, tmp_path: Path) -> None:
    half = {k: t.half() if t.is_floating_point() else t for k, t in model.state_dict().items()}
    save_model(tmp_path / "m.safetensors", half, CheckpointInfo("m", "compact", CONFIG))
    loaded, _, info = load_model(tmp_path / "m.safetensors")
    assert info.config == CONFIG
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    pixels = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(
        loaded.encode(pixels).levels[0], model.encode(pixels).levels[0], atol=0.02, rtol=0.02
    )


def test_an_exported_graph_answers_as_the_network_does(model: PartFPN, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    pixels = torch.randn(1, 3, 64, 96)
    export = (pixels, *ENCODER.encode(parse_queries(QUERIES)).conditions.to("cpu").arrays())
    names, pairs = torch.export.Dim("names", min=1), torch.export.Dim("pairs", min=1)
    inputs = ["pixels", "names", "object_parts", "part_index", "object_index"]
    torch.onnx.export(
        model,
        export,
        tmp_path / "tiny.onnx",
        input_names=inputs,
        dynamic_shapes=(None, {0: names}, {0: pairs}, {0: pairs}, {0: pairs}),
        dynamo=True,
    )
    session = runtime.InferenceSession(tmp_path / "tiny.onnx")
    for texts in (QUERIES, ["mug handle", "knife blade", "knife handle"]):
        given = (pixels, *ENCODER.encode(parse_queries(texts)).conditions.to("cpu").arrays())
        answer = session.run(None, dict(zip(inputs, (t.numpy() for t in given), strict=True)))
        for ours, theirs in zip(model(*given), answer, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-3)


def test_pixels_of_a_camera_are_squashed_to_the_input_size(model: PartFPN) -> None:
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    assert to_pixels(image, model.spec.preprocessing).shape == (1, 3, 64, 96)


def test_the_packaged_weights_are_small_and_load_at_once() -> None:
    weights = find_weights("ovps-tiny")
    assert weights.stat().st_size < 40e6
    start = time.perf_counter()
    model, _, info = load_model(weights)
    assert time.perf_counter() - start < 3
    assert info.licence == "Apache-2.0" and "handle" in model.config.parts


def test_a_part_s_name_in_another_vocabulary_is_read_as_a_part_of_an_object() -> None:
    encoder = load_model(find_weights("ovps-tiny")).query_encoder
    frame = encoder.encode(parse_queries("door frame"))
    spelt_out = encoder.encode(parse_queries("frame of the door"))
    assert np.array_equal(frame.conditions.object_parts, spelt_out.conditions.object_parts)
    assert frame.query_rows == spelt_out.query_rows


def test_the_packaged_model_finds_a_bowl_and_not_the_pan_that_is_not_there() -> None:
    pytest.importorskip("mujoco")
    pytest.importorskip("trimesh")
    from ovps_core.synthetic.live import LiveScene

    try:
        scene = LiveScene(["bowl", "scissors", "bottle"], seed=8)
    except BackendError as error:
        pytest.skip(str(error))
    frame = scene.frame(1.0)
    scene.close()
    segmenter = PartSegmenter.from_pretrained("ovps-tiny", backend="torch", device="cpu")
    masks = segmenter.segment(frame.rgb, ["bowl body", "pan body", "drawer knob"])
    found, truth = masks.mask_of("bowl body"), frame.masks["bowl", "body"]
    assert (found & truth).sum() / (found | truth).sum() > 0.5
    assert not masks.of("pan body") and not masks.of("drawer knob")


@pytest.mark.parametrize("radius", [0, 1, 6])
def test_the_mean_around_each_cell_is_that_of_pooling(radius: int) -> None:
    maps = torch.rand(2, 3, 16, 18)
    side = 2 * radius + 1
    expected = torch.nn.functional.avg_pool2d(maps, side, stride=1, padding=radius)
    torch.testing.assert_close(box_mean(maps, radius), expected, rtol=1e-5, atol=1e-6)
