"""The losses equal the released PartCLIPSeg's, from its own logits, attention and labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.paths import FIXTURES, TESTS
from helpers.recordings import Recording, recorded_arrays
from numpy.typing import NDArray

from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.attention_control import object_part_attention
from ovps_core.losses.labels import ObjectPartIndex, PartTargets, resize_labels
from ovps_core.losses.partclipseg import Losses, PartCLIPSegLoss
from ovps_core.models.interface import PartLogits
from ovps_core.models.partclipseg.corrections import Corrections

FOLDER = FIXTURES / "partclipseg"
SEEDS = sorted(FOLDER.glob("seed*_losses.json"))
ORIGINAL_NAMES = {
    "loss_part_obj_fg": "object_part_foreground",
    "loss_part_obj_bg": "object_part_background",
    "loss_part": "part",
    "loss_obj": "object",
    "loss_sep": "separation",
    "loss_enh": "enhancement",
    "loss_total": "total",
}
pytestmark = pytest.mark.parity


Arrays = Recording[NDArray[Any]]


def of_seed(path: Path) -> Arrays:
    return recorded_arrays(path.with_name(path.name.replace("_losses.json", ".npz")))


def ids(name: str, arrays: Arrays) -> torch.Tensor:
    labels = torch.from_numpy(arrays[name]).long()
    return torch.where(labels == 255, IGNORE, labels)


def pair_index(arrays: Arrays) -> ObjectPartIndex:
    parts = len(np.unique(arrays["train_part_index_map"]))
    part = torch.from_numpy(arrays["train_part_index_map"]).long()
    objects = torch.from_numpy(arrays["train_obj_index_map"]).long()
    return ObjectPartIndex(part, parts + objects, parts)


def attention_of(arrays: Arrays) -> torch.Tensor:
    images, names = arrays["train_logits"].shape[:2]
    return torch.from_numpy(arrays["train_decoder_attn2"]).unflatten(0, (images, names))


def grid_of(attention: torch.Tensor) -> tuple[int, int]:
    side = int((attention.shape[-1] - 1) ** 0.5)
    return side, side


def released_losses(arrays: Arrays) -> Losses:
    attention = attention_of(arrays).requires_grad_()
    return PartCLIPSegLoss(corrections=Corrections.released())(
        PartLogits(
            torch.from_numpy(arrays["train_logits"]),
            torch.from_numpy(arrays["train_part_obj_logits"]),
        ),
        attention,
        PartTargets(ids("train_targets", arrays), ids("train_obj_in_part_targets", arrays)),
        pair_index(arrays),
        grid_of(attention),
    )


def test_there_are_originals_to_compare_with() -> None:
    assert any((TESTS / "fixtures/partclipseg").glob("seed*_losses.json"))


@pytest.mark.parametrize("path", SEEDS, ids=lambda p: p.name)
def test_every_loss_and_its_gradient_flag(path: Path) -> None:
    expected = json.loads(path.read_text())
    losses = released_losses(of_seed(path))
    for theirs, ours in ORIGINAL_NAMES.items():
        assert getattr(losses, ours).item() == pytest.approx(expected[theirs], rel=1e-5), theirs
    assert losses.separation.requires_grad is expected["loss_sep_requires_grad"]
    assert losses.enhancement.requires_grad is expected["loss_enh_requires_grad"]


@pytest.mark.parametrize("path", SEEDS, ids=lambda p: p.name)
def test_aggregated_attention_is_the_originals(path: Path) -> None:
    arrays = of_seed(path)
    index = pair_index(arrays)
    names = attention_of(arrays).mean(dim=2)
    pairs = object_part_attention(names, index, torch.arange(len(index.part)))
    objects = names[:, index.num_parts : -1]
    expected = torch.from_numpy(arrays["train_agg_attentions"])
    torch.testing.assert_close(torch.cat([pairs, objects], dim=1), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("path", SEEDS, ids=lambda p: p.name)
def test_labels_reach_the_loss_as_in_the_original(path: Path) -> None:
    arrays = of_seed(path)
    config = json.loads((FOLDER / "config.json").read_text())
    with_parts = sorted({name.split("'s ")[0] for name in config["train_object_parts"]})
    rows = [config["train_objects"].index(name) for name in with_parts]
    size = tuple(arrays["train_targets"].shape[-2:])
    for image in range(len(arrays["train_targets"])):
        raw = ids(f"train_sem_seg{image}", arrays)
        objects = torch.full_like(raw, IGNORE)
        for row, dataset_id in enumerate(rows):
            objects[raw == dataset_id] = row
        ours = resize_labels(objects, size, shifted=True)
        assert torch.equal(ours, ids("train_obj_in_part_targets", arrays)[image])
        pairs = resize_labels(ids(f"train_obj_part_sem_seg{image}", arrays), size, shifted=True)
        assert torch.equal(pairs, ids("train_targets", arrays)[image])
