"""Each layer, loss and result of OpenSeeD equals the released code's on recorded inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.paths import FIXTURES, TESTS
from helpers.recordings import recorded_content
from torch import Tensor

from ovps_core.losses.matching import HungarianMatcher, Match, ObjectTargets, StuffSplit
from ovps_core.losses.openseed import OpenSeeDLoss
from ovps_core.models.layers.deformable_attention import DeformableAttention
from ovps_core.models.objects import ObjectPredictions
from ovps_core.models.openseed.corrections import Corrections
from ovps_core.models.openseed.heads import Predictions
from ovps_core.models.openseed.positions import box_encoding, grid_encoding, inverse_sigmoid
from ovps_core.models.openseed.query_selection import box_proposals
from ovps_core.pipeline.canvas import Canvas
from ovps_core.pipeline.postprocess.instances import instances
from ovps_core.pipeline.postprocess.panoptic import panoptic_map, semantic_scores
from ovps_core.pipeline.postprocess.panoptic_options import PanopticOptions

SEEDS = sorted((FIXTURES / "openseed").glob("units_s*.pt"))

pytestmark = pytest.mark.parity


class RecordedNumbers:
    """Random numbers in the order in which the released code drew them."""

    def __init__(self, draws: Iterable[Tensor]) -> None:
        self.draws = list(draws)

    def __call__(self, shape: Sequence[int]) -> Tensor:
        draw = self.draws.pop(0)
        assert draw.shape == torch.Size(shape)
        return draw


@pytest.fixture(params=SEEDS, ids=lambda path: path.stem)
def units(request: pytest.FixtureRequest) -> dict[str, Any]:
    path: Path = request.param
    return recorded_content(path)


def test_there_are_originals_to_compare_with() -> None:
    assert any((TESTS / "fixtures/openseed").glob("units_s*.pt"))


@torch.no_grad()
def test_deformable_attention_is_the_originals(units: dict[str, Any]) -> None:
    recorded = units["msda"]
    attention = DeformableAttention(recorded["query"].shape[-1], len(recorded["spatial_shapes"]))
    attention.load_state_dict(recorded["state"])
    sizes = [tuple(size) for size in recorded["spatial_shapes"].tolist()]
    for kind in "24":
        out = attention(recorded["query"], recorded[f"ref{kind}"], recorded["value"], sizes)
        torch.testing.assert_close(out, recorded[f"out{kind}"], rtol=0, atol=1e-5)


def test_encodings_of_positions_are_the_originals(units: dict[str, Any]) -> None:
    sine, grid, logit = units["query_sine"], units["pe_sine"], units["inverse_sigmoid"]
    encoded = box_encoding(sine["pos"], sine["out"].shape[-1] // 4)
    torch.testing.assert_close(encoded, sine["out"], rtol=0, atol=1e-5)
    height, width = grid["shape"][2:]
    channels = grid["out"].shape[1]
    ours = grid_encoding((height, width), channels, like=grid["out"]).permute(2, 0, 1)
    torch.testing.assert_close(ours, grid["out"][0], rtol=0, atol=1e-5)
    torch.testing.assert_close(inverse_sigmoid(logit["x"]), logit["out"], rtol=0, atol=1e-5)


def test_proposals_of_boxes_are_the_originals(units: dict[str, Any]) -> None:
    recorded = units["proposals"]
    sizes = [tuple(size) for size in recorded["spatial_shapes"].tolist()]
    proposals, inside = box_proposals(sizes, recorded["memory"])
    wanted = recorded["out_unsig"][0]
    assert torch.equal(inside, wanted.isfinite().all(-1))
    torch.testing.assert_close(proposals[inside], wanted[inside])
    kept = recorded["memory"].masked_fill(~inside[:, None], 0.0)
    torch.testing.assert_close(kept, recorded["out_memory"])


def predictions_of(recorded: dict[str, Tensor], *, with_masks: bool = True) -> Predictions:
    masks = recorded["pred_masks"] if with_masks else None
    return Predictions(recorded["pred_logits"], recorded["pred_boxes"], masks)


def targets_of(
    recorded: Sequence[dict[str, Tensor]], *, with_masks: bool = True
) -> list[ObjectTargets]:
    return [
        ObjectTargets(each["labels"], each["boxes"], each["masks"] if with_masks else None)
        for each in recorded
    ]


@pytest.mark.parametrize("case", ["full", "det", "split"])
def test_queries_and_objects_match_as_in_the_original(case: str, units: dict[str, Any]) -> None:
    recorded = units["matcher"]
    settings = recorded["cases"][case]
    with_masks = "mask" in settings["cost"]
    split = None
    if settings["split"]:
        split = StuffSplit(num_things=80, object_queries=settings["split"]["n_q_th"])
    matches = HungarianMatcher(num_points=recorded["num_points"])(
        predictions_of(recorded["outputs"], with_masks=with_masks),
        targets_of(recorded["targets"], with_masks=with_masks),
        split,
        RecordedNumbers(settings["draws"]),
    )
    for match, (queries, objects) in zip(matches, settings["idx"], strict=True):
        assert torch.equal(match.queries, queries) and torch.equal(match.objects, objects)


def test_losses_of_matched_queries_are_the_originals(units: dict[str, Any]) -> None:
    recorded, source = units["losses"], units["matcher"]
    numbers = RecordedNumbers(recorded["draws"])
    targets = targets_of(source["targets"])
    predictions = predictions_of(source["outputs"])
    num_points = recorded["draws"][0].shape[1] // int(recorded["oversample"])
    loss = OpenSeeDLoss(num_points=num_points, corrections=Corrections.released())
    matches = [Match(queries, objects) for queries, objects in recorded["indices"]]
    terms = loss.matched_terms(predictions, targets, matches, recorded["num_boxes"], numbers)
    out = recorded["out"]
    for value, name in (
        (terms.classes, out["labels"]["loss_mask_cls_0"]),
        (terms.masks, out["masks"]["loss_mask_bce_0"]),
        (terms.dice, out["masks"]["loss_mask_dice_0"]),
        (terms.boxes, out["boxes"]["loss_bbox_0"]),
        (terms.giou, out["boxes"]["loss_giou_0"]),
    ):
        assert value.item() == pytest.approx(name, rel=1e-5)


def test_instances_and_semantic_scores_are_the_originals(units: dict[str, Any]) -> None:
    recorded = units["post"]
    size = tuple(recorded["masks"].shape[1:])
    canvas = Canvas(size, size, size)
    masks = recorded["masks"].float()
    found = ObjectPredictions(recorded["boxes"][None], recorded["cls"].sigmoid()[None], masks[None])
    for name, things in (("inst_panoTrue", recorded["n_thing"]), ("inst_panoFalse", None)):
        ours = instances(found, canvas, max_instances=recorded["topk"], num_things=things)
        wanted = recorded["out"][name]
        order = wanted["scores"].argsort(descending=True)
        torch.testing.assert_close(ours.scores, wanted["scores"][order])
        torch.testing.assert_close(ours.boxes, wanted["boxes"][order], rtol=0, atol=1e-4)
        assert torch.equal(ours.labels, wanted["classes"][order])
        assert torch.equal(ours.masks, wanted["masks"][order])
    scores = semantic_scores(found, canvas)
    torch.testing.assert_close(scores, recorded["out"]["sem"], rtol=0, atol=1e-4)
    ids, segments = panoptic_map(found, canvas, recorded["n_thing"], options=PanopticOptions())
    recorded_ids, recorded_segments = recorded["out"]["pan"]
    assert torch.equal(ids, recorded_ids)
    assert [(s.id, s.label, s.is_thing) for s in segments] == [
        (s["id"], s["category_id"], s["isthing"]) for s in recorded_segments
    ]
