"""The corrected losses have true gradients, go down when descended, and survive odd batches."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ovps_core.language.vocabulary import IGNORE, UNKNOWN
from ovps_core.losses.attention_control import (
    PartAttention,
    attention_per_object,
    enhancement_loss,
    separation_loss,
    separation_loss_released,
)
from ovps_core.losses.labels import ObjectPartIndex, PartTargets
from ovps_core.losses.mask_supervision import mask_supervision
from ovps_core.losses.partcatseg import catseg_loss
from ovps_core.losses.partclipseg import Losses, LossWeights, PartCLIPSegLoss
from ovps_core.models.interface import PartLogits
from ovps_core.models.partclipseg.corrections import Corrections

GRID = (4, 5)
SIZE = (16, 20)
# parts: door, head, wheel; objects: bus, cat; object-parts: bus door, bus wheel, cat head
INDEX = ObjectPartIndex(torch.tensor([0, 2, 1]), torch.tensor([3, 3, 4]), 3)
NAMES, OBJECT_PARTS = 6, 4
TOKENS = GRID[0] * GRID[1] + 1


def scene(images: int = 2) -> PartTargets:
    """A bus with door and wheel on the left, a cat with a head on the right, background above."""
    pairs = torch.full((images, *SIZE), IGNORE)
    objects = torch.full((images, *SIZE), IGNORE)
    objects[:, 4:, :12] = 0
    objects[:, 4:, 12:] = 1
    pairs[:, 4:12, :12] = 0
    pairs[:, 12:, :8] = 1
    pairs[:, 4:8, 12:] = 2
    return PartTargets(pairs, objects)


def random_attention(images: int = 2, heads: int = 2) -> Tensor:
    shape = (images, NAMES, heads, TOKENS, TOKENS)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def attention_loss(loss: Callable[[PartAttention], Tensor], scores: Tensor) -> Tensor:
    attention = scores.softmax(dim=-1).mean(dim=2)
    maps = attention_per_object(attention, scene(len(scores)), INDEX, GRID, drop_last=False)
    return torch.stack([loss(each) for each in maps]).mean()


def full_loss(
    targets: PartTargets, corrections: Corrections | None = None, images: int = 2
) -> Losses:
    generator = torch.Generator().manual_seed(5)
    names = torch.randn((images, NAMES, *SIZE), generator=generator).requires_grad_()
    pairs = torch.randn((images, OBJECT_PARTS, *SIZE), generator=generator).requires_grad_()
    attention = random_attention(images).float().softmax(dim=-1).requires_grad_()
    criterion = PartCLIPSegLoss(corrections=corrections or Corrections())
    losses = criterion(PartLogits(names, pairs), attention, targets, INDEX, GRID)
    losses.total.backward()
    assert names.grad is not None and bool(names.grad.isfinite().all())
    return losses


@pytest.mark.parametrize(
    "loss",
    [lambda attention: separation_loss(attention, 0.3), enhancement_loss],
    ids=["separation", "enhancement"],
)
def test_attention_losses_have_the_right_gradient_and_go_down(
    loss: Callable[[PartAttention], Tensor],
) -> None:
    scores = random_attention(images=1, heads=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: attention_loss(loss, s), scores, fast_mode=True)

    scores = random_attention().requires_grad_()
    optimizer = torch.optim.Adam([scores], lr=0.1)
    history = []
    for _ in range(60):
        optimizer.zero_grad()
        value = attention_loss(loss, scores)
        value.backward()
        optimizer.step()
        history.append(value.item())
    assert history[-1] < 0.75 * history[0]


def test_mask_losses_have_the_right_gradient_and_go_down() -> None:
    generator = torch.Generator().manual_seed(1)
    shape = (1, NAMES + OBJECT_PARTS, *SIZE)
    logits = torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()

    def total(maps: Tensor) -> Tensor:
        losses = mask_supervision(maps[:, :NAMES], maps[:, NAMES:], scene(1), INDEX)
        return (
            losses.object_part_foreground
            + losses.object_part_background
            + losses.part
            + losses.object
        )

    assert torch.autograd.gradcheck(total, logits, fast_mode=True)
    start = total(logits).item()
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        total(logits).backward()
        optimizer.step()
    assert total(logits).item() < 0.05 * start


def test_sharp_separation_is_the_released_count() -> None:
    sums = torch.rand((3, 6, 6), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    everywhere = torch.ones(6, 6, dtype=torch.bool)
    attention = PartAttention(sums, sums > 0.5, everywhere, torch.ones(3, dtype=torch.bool))
    released = separation_loss_released(attention, 0.5).item()
    assert 0 < released < 1
    assert separation_loss(attention, 0.5, softness=1e-6).item() == pytest.approx(
        released, abs=1e-6
    )


def test_enhancement_is_least_when_the_part_looks_at_one_place_inside_itself() -> None:
    inside = torch.zeros(1, 6, 6, dtype=torch.bool)
    inside[:, 1:5, 1:5] = True

    def loss(row: int, column: int) -> float:
        sums = torch.zeros(1, 6, 6)
        sums[0, row, column] = 16.0  # all attention of the part's 16 pixels
        return enhancement_loss(PartAttention(sums, inside, inside[0], torch.tensor([True]))).item()

    centre_of_smoothing = (1 / (1 + 2 / math.e)) ** 2
    assert loss(2, 2) == pytest.approx(1 - centre_of_smoothing, abs=1e-6)
    assert loss(0, 0) > loss(2, 2), "attention outside the part helps only through the smoothing"


def test_every_object_counts_when_no_pixel_is_ignored() -> None:
    targets = scene(1)
    objects = targets.objects.clone()
    objects[objects == IGNORE] = 0
    covered = PartTargets(targets.object_parts, objects)
    attention = random_attention(images=1).softmax(dim=-1).mean(dim=2)
    counted = {
        drop_last: len(
            list(attention_per_object(attention, covered, INDEX, GRID, drop_last=drop_last))
        )
        for drop_last in (False, True)
    }
    assert counted == {False: 2, True: 1}, "the released list loses the largest object"

    corrected = full_loss(covered, images=1)
    assert corrected.total.isfinite() and corrected.object_part_background.item() == 0
    released = full_loss(covered, Corrections.released(), images=1)
    assert released.object_part_background.isnan() and released.total.item() == 0


@pytest.mark.parametrize("corrections", [Corrections(), Corrections.released()])
def test_batches_without_parts_or_objects(corrections: Corrections) -> None:
    targets = scene()
    nothing = torch.full_like(targets.object_parts, IGNORE)
    no_parts = full_loss(PartTargets(nothing, targets.objects), corrections)
    assert no_parts.object_part_foreground.item() == no_parts.part.item() == 0
    assert no_parts.separation.item() == no_parts.enhancement.item() == 0
    assert no_parts.object_part_background.item() > 0

    empty = full_loss(PartTargets(nothing, nothing), corrections)
    assert empty.object_part_background.item() == 0 and empty.object.item() > 0
    assert empty.total.item() == empty.object.item()


def test_pixels_of_unknown_content_do_not_count() -> None:
    targets = scene()
    for labels in (targets.object_parts, targets.objects):
        labels[:, :6, 8:16] = UNKNOWN
    generator = torch.Generator().manual_seed(5)
    names = torch.randn((2, NAMES, *SIZE), generator=generator).requires_grad_()
    pairs = torch.randn((2, OBJECT_PARTS, *SIZE), generator=generator).requires_grad_()
    masks = mask_supervision(names, pairs, targets, INDEX)
    terms = masks.object_part_foreground + masks.object_part_background + masks.part + masks.object
    of_catseg = catseg_loss(PartLogits(pairs, pairs), targets)
    for total, maps in ((terms, names), (terms, pairs), (of_catseg, pairs)):
        (gradient,) = torch.autograd.grad(total, maps, retain_graph=True)
        moved = gradient.abs().sum(dim=1) > 0
        assert not moved[:, :6, 8:16].any(), "neither a part nor background"
        assert moved.any()
    assert full_loss(targets).total.isfinite()


@pytest.mark.parametrize("label", [IGNORE, UNKNOWN])
def test_a_batch_of_unknown_content_has_no_loss(label: int) -> None:
    unknown = torch.full((2, *SIZE), UNKNOWN)
    losses = full_loss(PartTargets(unknown, unknown))
    assert losses.total.item() == 0
    some = unknown.clone()
    some[:, 0] = label  # no object is known: as in a batch of background alone
    losses = full_loss(PartTargets(some, some))
    assert losses.object_part_background.item() == 0
    assert losses.total.isfinite()


def test_a_part_thinner_than_the_attention_grid_is_left_out_of_enhancement() -> None:
    targets = scene(1)
    pairs = targets.object_parts.clone()
    pairs[pairs == 2] = IGNORE
    pairs[:, 5, 13] = 2
    losses = full_loss(PartTargets(pairs, targets.objects), images=1)
    assert losses.enhancement.item() < 1
    assert losses.total.isfinite()


def test_separate_switches_choose_separate_losses() -> None:
    both = full_loss(scene())
    old_separation = full_loss(scene(), Corrections(differentiable_separation=False))
    old_enhancement = full_loss(scene(), Corrections(enhancement_over_part=False))
    assert both.separation.requires_grad and not old_separation.separation.requires_grad
    assert old_separation.enhancement.item() == both.enhancement.item()
    assert old_enhancement.separation.item() == both.separation.item()
    # the released value is a mean over the whole grid and is divided by the two images again
    assert 2 * old_enhancement.enhancement.item() > both.enhancement.item()


def test_weights_of_zero_skip_the_attention_losses() -> None:
    criterion = PartCLIPSegLoss(LossWeights(separation=0, enhancement=0))
    logits = PartLogits(torch.zeros(1, NAMES, *SIZE), torch.zeros(1, OBJECT_PARTS, *SIZE))
    losses = criterion(logits, random_attention(1), scene(1), INDEX, GRID)
    assert losses.separation.item() == losses.enhancement.item() == 0
