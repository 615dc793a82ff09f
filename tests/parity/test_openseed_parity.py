"""OpenSeeD computes what the released code computes, for the same weights and inputs, in all three variants."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.paths import FIXTURES
from helpers.recordings import recorded_content
from helpers.toy_models import build
from torch import Tensor

from ovps_core.checkpoints import LoadedModel
from ovps_core.checkpoints.convert.openseed import from_openseed, openseed_config
from ovps_core.checkpoints.file import load_full_state
from ovps_core.models.interface import Features
from ovps_core.models.objects import ObjectPredictions
from ovps_core.models.openseed.model import OpenSeeD
from ovps_core.models.openseed.query_selection import box_proposals
from ovps_core.models.openseed.text import NameEncoder
from ovps_core.pipeline.canvas import Canvas
from ovps_core.pipeline.postprocess.instances import Instances, instances
from ovps_core.pipeline.postprocess.panoptic import panoptic_map, semantic_scores
from ovps_core.pipeline.postprocess.panoptic_options import PanopticOptions

FOLDER = FIXTURES / "openseed"
CASES = sorted(path.stem.removesuffix("_eval") for path in FOLDER.glob("*_eval.pt"))
CONDITIONED = sorted(
    path.stem.removesuffix("_conditioned") for path in FOLDER.glob("*_conditioned.pt")
)
TOY_TEXT_HEADS = 4  # does not show in the tensors
TOY_WORDS, TOY_START, TOY_END = 298, 298, 299
CANVAS = (128, 160)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
HALF = 1e-3  # large maps are recorded in 16 bit

pytestmark = pytest.mark.parity


def toy_tokens(texts: Sequence[str], length: int = 18) -> Tensor:
    """Tokens of the recordings' own small vocabulary: a checksum of each word."""
    rows = []
    for text in texts:
        words = re.findall(r"[a-z0-9'-]+|[^\sa-z0-9]", text.lower())
        ids = [zlib.crc32(word.encode()) % TOY_WORDS for word in words]
        rows.append([TOY_START, *ids, *[TOY_END] * length][:length])
    return torch.tensor(rows)


def recording(name: str) -> dict[str, Any]:
    return recorded_content(FOLDER / f"{name}.pt")


def load(case: str) -> LoadedModel:
    state = from_openseed(dict(recording(f"{case}_weights")))
    config = openseed_config(state)
    config = replace(config, text=replace(config.text, heads=TOY_TEXT_HEADS))
    loaded = build("openseed", config)
    load_full_state(loaded.model, loaded.query_encoder, state)
    assert loaded.query_encoder.text_encoder is not None
    loaded.query_encoder.text_encoder.tokenizer = toy_tokens
    return loaded


def network(loaded: LoadedModel) -> OpenSeeD:
    assert isinstance(loaded.model, OpenSeeD)
    return loaded.model


def pixels_of(images: Sequence[Tensor]) -> Tensor:
    """Images float [3, h, w] of 0..255, normalised and padded."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    pixels = torch.zeros(len(images), 3, *CANVAS)
    for row, image in zip(pixels, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = (image - mean) / std
    return pixels


def assert_close(ours: Tensor, recorded: Tensor, tolerance: float = 1e-4) -> None:
    """Equal up to ``tolerance`` times the largest recorded value."""
    tolerance = HALF if recorded.dtype == torch.float16 else tolerance
    recorded = recorded.float()
    scale = max(1.0, recorded[recorded.isfinite()].abs().max().item())
    torch.testing.assert_close(ours.float(), recorded, rtol=0, atol=tolerance * scale)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[LoadedModel, dict[str, Any], Features]:
    """A network with recorded weights, its recordings, and its features of the recorded images."""
    loaded, recorded = load(request.param), recording(f"{request.param}_eval")
    with torch.no_grad():
        return loaded, recorded, loaded.model.encode(pixels_of(recorded["images"]))


@torch.no_grad()
def test_features_of_the_image_are_the_originals(
    case: tuple[LoadedModel, dict[str, Any], Features],
) -> None:
    loaded, recorded, features = case
    maps = network(loaded).backbone(pixels_of(recorded["images"]))
    assert_close(maps[2], recorded["backbone"]["res4"])
    assert_close(maps[3], recorded["backbone"]["res5"])
    for ours, theirs in zip(features.levels, recorded["multi_scale"], strict=False):
        assert_close(ours, theirs)
    assert_close(network(loaded).mask_features(features), recorded["mask_features"], 2e-3)


@torch.no_grad()
def test_embeddings_of_names_are_the_originals(
    case: tuple[LoadedModel, dict[str, Any], Features],
) -> None:
    loaded, recorded, _ = case
    encoder = loaded.query_encoder.text_encoder
    assert isinstance(encoder, NameEncoder)
    assert_close(encoder.encode(recorded["names"]), recorded["text_embeddings"], 1e-5)


@torch.no_grad()
def test_the_selected_queries_are_the_originals(
    case: tuple[LoadedModel, dict[str, Any], Features],
) -> None:
    loaded, recorded, features = case
    model, names = network(loaded), recorded["text_embeddings"]
    memory = model.memory(features)
    assert [list(size) for size in memory.sizes] == recorded["proposal_levels_hw"].tolist()
    proposals, inside = box_proposals(memory.sizes, memory.cells)
    recorded_proposals = recorded["proposals_unsig"][0]
    assert torch.equal(inside, recorded_proposals.isfinite().all(-1))
    assert_close(proposals[inside], recorded_proposals[inside])
    selection = model.select(memory, names)
    assert torch.equal(selection.cells, recorded["topk_idx"])
    assert_close(selection.scores, recorded["topk_scores"])
    predictions = model.predict_layers(features, names)
    assert_close(predictions.layers[0].boxes_cxcywh, recorded["dec_in_refpoints"].sigmoid())
    assert_close(predictions.intermediate.class_logits, recorded["interm_logits"])
    assert_close(predictions.intermediate.boxes_cxcywh, recorded["interm_boxes"])


@torch.no_grad()
def test_logits_boxes_and_masks(case: tuple[LoadedModel, dict[str, Any], Features]) -> None:
    loaded, recorded, features = case
    names = recorded["text_embeddings"]
    last = network(loaded).predict_layers(features, names).layers[-1]
    assert_close(last.class_logits, recorded["pred_logits"])
    found = network(loaded).detect(features, names)
    assert_close(found.scores, recorded["pred_logits"].sigmoid(), 2e-5)
    assert_close(found.boxes_cxcywh, recorded["pred_boxes"], 1e-5)
    assert_close(found.mask_logits[:, ::8], recorded["pred_masks_every8"])


@torch.no_grad()
def test_semantic_panoptic_and_instance_results(
    case: tuple[LoadedModel, dict[str, Any], Features],
) -> None:
    loaded, recorded, features = case
    model, things = network(loaded), recorded["n_thing"]
    found = model.detect(features, recorded["text_embeddings"])
    for index, (image, size) in enumerate(
        zip(recorded["images"], recorded["out_sizes"], strict=True)
    ):
        canvas = Canvas(CANVAS, (image.shape[1], image.shape[2]), tuple(size))
        assert_close(semantic_scores(found, canvas, index=index), recorded["sem_seg"][index])
        check_panoptic(found, canvas, index, things, recorded["panoptic"][index])
        ours = instances(
            found,
            canvas,
            index=index,
            max_instances=model.config.max_instances,
            num_things=things,
        )
        check_instances(ours, recorded["instances"][index])


def check_panoptic(
    found: ObjectPredictions, canvas: Canvas, index: int, things: int, recorded: Any
) -> None:
    ids, segments = panoptic_map(found, canvas, things, index=index, options=PanopticOptions())
    recorded_ids, recorded_segments = recorded
    # a few pixels have two segments whose scores differ by rounding
    assert (ids != recorded_ids.int()).sum() <= 5
    assert [(s.id, s.label, s.is_thing) for s in segments] == [
        (s["id"], s["category_id"], s["isthing"]) for s in recorded_segments
    ]


def check_instances(ours: Instances, recorded: dict[str, Tensor]) -> None:
    """The same instances in any order; masks may differ by a few pixels on their edge."""
    assert ours.masks is not None
    assert len(ours.scores) == len(recorded["scores"])

    def rows(labels: Tensor, scores: Tensor, boxes: Tensor, areas: Tensor) -> Tensor:
        columns = [labels[:, None], scores[:, None], boxes * 1e-2, areas[:, None] * 1e-4]
        return torch.cat([column.double() for column in columns], 1)

    found = rows(ours.labels, ours.scores, ours.boxes, ours.masks.sum((1, 2)))
    wanted = rows(*(recorded[key] for key in ("classes", "scores", "boxes", "mask_area")))
    distance, nearest = torch.cdist(found, wanted).min(1)
    assert distance.max() < 1e-3
    assert len(nearest.unique()) == len(wanted)


@pytest.mark.parametrize("name", CONDITIONED)
@torch.no_grad()
def test_masks_from_names_and_boxes(name: str) -> None:
    model, recorded = network(load(name)), recording(f"{name}_conditioned")
    features = model.encode(pixels_of(recording(f"{name}_eval")["images"]))
    names = recorded["text_embeddings"]
    own = names[recorded["labels"]]
    decoded = model.decode_conditioned(features, recorded["boxes"], own, names)
    assert_close(own @ model.name_to_query, recorded["tgt"])
    assert_close(decoded.class_logits, recorded["pred_logits"])
    assert_close(decoded.boxes_cxcywh, recorded["pred_boxes"], 1e-5)
    masks = model.decode_masks(features, recorded["boxes"], own)
    assert_close(masks, recorded["pred_masks"])
