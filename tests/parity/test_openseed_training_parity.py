"""One training step of OpenSeeD has the released code's matches, losses and gradients, words included."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from parity.test_openseed_layers_parity import RecordedNumbers
from parity.test_openseed_parity import CANVAS, FOLDER, load, network, pixels_of, recording
from torch import Tensor

from ovps_core.checkpoints import LoadedModel
from ovps_core.checkpoints.convert.openseed import openseed_key
from ovps_core.losses.matching import ObjectTargets, TermWeights
from ovps_core.losses.openseed import OpenSeeDLoss, OpenSeeDLosses
from ovps_core.models.layers.boxes import centres_and_sizes
from ovps_core.models.openseed.corrections import Corrections
from ovps_core.models.openseed.decoder import group_mask
from ovps_core.models.openseed.denoising import denoising_queries
from ovps_core.models.openseed.model import TrainingPredictions
from ovps_core.models.openseed.text import NameEncoder

STEPS = sorted(path.stem for path in FOLDER.glob("*_train_*.pt"))
TERMS = {
    "mask_cls": "classes",
    "mask_bce": "masks",
    "mask_dice": "dice",
    "bbox": "boxes",
    "giou": "giou",
}
THINGS, POINTS = 80, 96

pytestmark = pytest.mark.parity


def targets_of(recorded: Sequence[dict[str, Any]]) -> list[ObjectTargets]:
    """The recorded ground truth; boxes relative to their own image, as released."""
    targets = []
    for each in recorded:
        height, width = each["size"]
        boxes = each["boxes_xyxy_abs"] / torch.tensor([width, height] * 2)
        masks = None
        if each["masks"] is not None:
            masks = torch.zeros(len(boxes), *CANVAS)
            masks[:, :height, :width] = each["masks"]
        targets.append(ObjectTargets(each["labels"], centres_and_sizes(boxes), masks))
    return targets


class Step:
    """Forward and backward on a recorded batch, with the recorded random numbers."""

    def __init__(self, name: str) -> None:
        self.recorded = recording(name)
        case = name.split("_train_")[0]
        self.loaded: LoadedModel = load(case)
        model, encoder = network(self.loaded), self.loaded.query_encoder.text_encoder
        assert isinstance(encoder, NameEncoder)
        model.train()
        encoder.train()
        self.names: Tensor = encoder.encode_prompts(self.recorded["prompts"])
        targets = targets_of(self.recorded["targets"])
        numbers = RecordedNumbers(self.recorded["rand_draws"])
        self.denoising = denoising_queries(
            [target.labels for target in targets],
            [target.boxes_cxcywh for target in targets],
            uniform=numbers,
        )
        images = recording(f"{case}_eval")["images"]
        self.predictions: TrainingPredictions = model.predict_layers(
            model.encode(pixels_of(images)), self.names, self.denoising
        )
        loss = OpenSeeDLoss(num_points=POINTS, corrections=Corrections.released())
        self.losses: OpenSeeDLosses = loss(
            self.predictions,
            targets,
            num_things=THINGS,
            denoising=self.denoising,
            uniform=numbers,
        )
        self.losses.total.backward()
        assert not numbers.draws

    def gradient_norm(self, released: str) -> float:
        """Norm of our gradient of the tensor with a released name."""
        parameters = dict(self.loaded.model.named_parameters())
        encoder = self.loaded.query_encoder.text_encoder
        assert encoder is not None
        parameters |= {f"text.{name}": p for name, p in encoder.named_parameters()}
        name = openseed_key(released)
        assert name is not None
        gradient = parameters[name].grad
        return 0.0 if gradient is None else gradient.norm().item()


@pytest.fixture(scope="module", params=STEPS)
def step(request: pytest.FixtureRequest) -> Step:
    return Step(request.param)


def test_denoising_queries_and_what_they_see(step: Step) -> None:
    recorded, denoising = step.recorded, step.denoising
    assert denoising is not None
    padding = denoising.labels.shape[1]
    assert (padding, denoising.groups) == (recorded["dn"]["pad_size"], recorded["dn"]["scalar"])
    wanted = recorded["dec_in_refpoints"][:, :padding]
    torch.testing.assert_close(denoising.anchors, wanted, rtol=0, atol=1e-5)
    others = len(recorded["dn_attn_mask"]) - padding
    blocked = group_mask(denoising.groups, denoising.group_size, others, torch.device("cpu"))
    assert torch.equal(blocked, recorded["dn_attn_mask"])


def test_predicted_boxes_are_the_originals(step: Step) -> None:
    recorded = step.recorded
    torch.testing.assert_close(step.names, recorded["text_embeddings"], rtol=0, atol=1e-5)
    wanted = recorded["pred_boxes"]
    last = step.predictions.layers[-1].rows(0, wanted.shape[1])
    torch.testing.assert_close(last.boxes_cxcywh, wanted, rtol=0, atol=1e-5)
    denoised = step.predictions.denoising[-1].boxes_cxcywh
    torch.testing.assert_close(denoised, recorded["dn_pred_boxes"], rtol=0, atol=1e-5)


def test_matches_of_every_layer_are_the_originals(step: Step) -> None:
    final, *auxiliary, intermediate = step.recorded["match_indices"]
    for ours, theirs in zip(step.losses.matches, [*auxiliary, final, intermediate], strict=True):
        for match, (queries, objects) in zip(ours, theirs, strict=True):
            assert torch.equal(match.queries, queries) and torch.equal(match.objects, objects)


def test_every_weighted_loss_is_the_originals(step: Step) -> None:
    losses, weights, last = step.losses, TermWeights(), len(step.losses.layers) - 1
    for name, wanted in step.recorded["weighted_losses"].items():
        parsed = re.fullmatch(r"loss_(\w+?)_(\d+)(_dn|_interm)?", name)
        assert parsed is not None
        term, number, kind = TERMS[parsed[1]], int(parsed[2]), parsed[3]
        sets = losses.denoising if kind == "_dn" else losses.layers
        terms = losses.intermediate if kind == "_interm" else sets[number - 1 if number else last]
        ours = getattr(terms, term).item() * getattr(weights, term)
        assert ours == pytest.approx(wanted, rel=1e-4), name
    assert losses.total.item() == pytest.approx(step.recorded["total"], rel=1e-5)


def test_every_gradient_has_the_originals_norm(step: Step) -> None:
    assert not step.recorded["no_grad_params"]
    for name, norm in step.recorded["grad_norms"].items():
        assert step.gradient_norm(name) == pytest.approx(norm, rel=1e-3, abs=1e-4), name
