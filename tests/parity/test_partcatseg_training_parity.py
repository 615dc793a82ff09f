"""One training step of PartCATSeg has the released code's losses and gradients."""

from __future__ import annotations

import pytest
import torch
from helpers.catseg_recordings import encode, load, losses_of, seeds, targets
from parity.catseg_checks import LOSSES as TOLERANCE
from parity.catseg_checks import check_gradients
from parity.test_partcatseg_parity import conditions, typed

from ovps_core.checkpoints.convert.partcatseg import catseg_key
from ovps_core.language.vocabulary import load_vocabulary
from ovps_core.losses.partcatseg import PartCATSegLoss, compositional_loss
from ovps_core.models.partcatseg.corrections import Corrections

LOSSES = {
    "loss_specific_fg": "object_part_foreground",
    "loss_specific_bg": "object_part_background",
    "loss_part": "part",
    "loss_obj": "object",
    "loss_js": "composition",
    "loss_total": "total",
}

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("seed", seeds("partcatseg"))
def test_losses_and_every_gradient(seed: str) -> None:
    loaded, arrays = load("partcatseg", seed)
    model = typed(loaded)
    outputs = model.decode_with_costs(
        encode(loaded, arrays, "train"), conditions(loaded, arrays, "train")
    )
    losses = PartCATSegLoss(corrections=Corrections.released())(
        outputs, *targets("partcatseg", arrays)
    )
    losses.total.backward()
    recorded = losses_of("partcatseg", seed)
    for theirs, ours in LOSSES.items():
        value = getattr(losses, ours).item()
        assert value == pytest.approx(recorded[theirs], abs=TOLERANCE, rel=0), theirs
    check_gradients(model, catseg_key, arrays, recorded)


@pytest.mark.parametrize(
    ("name", "value"),
    [("pascal_part_116", 0.0622), ("ade20k_part_234", 0.0250), ("partimagenet", 0.0146)],
)
def test_composition_of_equal_scores_depends_on_the_numbers_of_parts(
    name: str, value: float
) -> None:
    vocabulary = load_vocabulary(name).seen()
    owners = torch.from_numpy(vocabulary.object_index)
    objects = torch.zeros(1, len(vocabulary.objects_with_parts) + 1, 2, 2)
    object_parts = torch.zeros(1, len(owners) + 1, 2, 2)
    loss = compositional_loss(objects, object_parts, owners)
    assert loss.item() == pytest.approx(value, abs=5e-5)
