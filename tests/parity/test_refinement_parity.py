"""Parameter-free refinements equal the released code of HOPS on recorded inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from helpers.paths import FIXTURES
from helpers.recordings import recorded_arrays, recorded_tensors
from torch import Tensor

from ovps_core.evaluation.metrics import grouped_confusion, mean_of_valid, over_segmentation
from ovps_core.language.vocabulary import load_vocabulary
from scripts.refinement import (
    attention_votes,
    doubly_normalised,
    filter_by_attention,
    fuse_attention,
    likely_classes,
    object_crops,
    spread_by_affinity,
)

pytestmark = pytest.mark.parity
FOLDER = FIXTURES / "hops"
RECORDS = sorted(FOLDER.glob("seed*.npz"))
CONFUSIONS = sorted(FOLDER.glob("osi_seed*.npz"))


@pytest.fixture(params=RECORDS, ids=lambda path: path.stem)
def recorded(request: pytest.FixtureRequest) -> Mapping[str, Tensor]:
    return recorded_tensors(request.param)


def needs(recorded: Mapping[str, Tensor], *keys: str) -> list[Tensor]:
    """Recorded arrays; the test is skipped if this seed lacks one."""
    return [recorded[key] for key in keys]


def test_votes_and_likely_classes(recorded: Mapping[str, Tensor]) -> None:
    attention, votes = needs(recorded, "afm_attention", "afm_mask_attention")
    assert torch.equal(attention_votes(attention, 6), votes.bool())
    probabilities, classes = needs(recorded, "afm_prob", "afm_mask_class")
    assert torch.equal(likely_classes(probabilities, 0.2), classes.bool())


def test_attention_filter_with_likely_classes(recorded: Mapping[str, Tensor]) -> None:
    attention, probabilities, refined = needs(recorded, "afm_attention", "afm_prob", "afm_refined")
    scores = probabilities * likely_classes(probabilities)
    torch.testing.assert_close(
        filter_by_attention(scores, attention, more_than=6), refined, rtol=0, atol=1e-7
    )


def test_attention_filter_of_cosines(recorded: Mapping[str, Tensor]) -> None:
    attention, before, after = needs(
        recorded, "stage_attention", "stage1_cost_off", "stage1_cost_on"
    )
    rows = before.flatten(1, 2).flatten(2).transpose(1, 2)  # templates and classes are columns
    refined = filter_by_attention(rows, attention).transpose(1, 2).reshape(before.shape)
    torch.testing.assert_close(refined, after, rtol=0, atol=1e-6)


@pytest.mark.parametrize("alpha", ["1", "0.5"])
def test_fused_attention_is_the_originals(recorded: Mapping[str, Tensor], alpha: str) -> None:
    clip, dino, fused = needs(recorded, "cross_clip", "cross_dino", f"cross_alpha{alpha}_nomask")
    ours = fuse_attention(clip.transpose(0, 1), dino.transpose(0, 1), float(alpha))
    torch.testing.assert_close(ours, fused, rtol=0, atol=1e-7)


def test_votes_of_fused_attention_keep_what_the_original_keeps(
    recorded: Mapping[str, Tensor],
) -> None:
    fused, masked = needs(recorded, "cross_alpha0.5_nomask", "cross_alpha0.5_mask")
    votes = attention_votes(fused, more_than=5)
    torch.testing.assert_close(fused * votes[:, None], masked, rtol=0, atol=1e-7)


def test_doubly_normalised_affinity_is_the_originals(recorded: Mapping[str, Tensor]) -> None:
    affinity, expected = needs(recorded, "sinkhorn_in", "sinkhorn_out")
    torch.testing.assert_close(doubly_normalised(affinity), expected, rtol=0, atol=1e-7)


def test_maps_spread_by_affinity_are_the_originals(recorded: Mapping[str, Tensor]) -> None:
    attention, before, after = needs(
        recorded, "stage_attention", "stage2_cost_off", "stage2_cost_on"
    )
    rows = before.flatten(1, 2).flatten(2).transpose(1, 2)
    affinity = attention[: len(before)].mean(1)
    refined = spread_by_affinity(rows, affinity).transpose(1, 2).reshape(before.shape)
    torch.testing.assert_close(refined, after, rtol=0, atol=1e-6)


def test_masked_crops_of_objects_are_the_originals(recorded: Mapping[str, Tensor]) -> None:
    logits, image, expected = needs(recorded, "crop_obj_logits", "crop_image", "crop_resized")
    boxes, masks, labels = needs(recorded, "crop_xywh", "crop_mask", "crop_class")
    background = logits.shape[1] - 1
    size = (expected.shape[-2], expected.shape[-1])
    crops = list(
        object_crops(image.permute(1, 2, 0).numpy(), logits[0].argmax(0).numpy(), size, background)
    )
    assert [crop.label for crop in crops] == labels.tolist()
    for crop, box, mask, pixels in zip(crops, boxes.tolist(), masks, expected, strict=True):
        assert list(crop.box.xywh) == box
        np.testing.assert_array_equal(crop.mask, mask.numpy())
        torch.testing.assert_close(crop.pixels, pixels, rtol=0, atol=1e-3)


@pytest.mark.parametrize("path", CONFUSIONS, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", ["partimagenet", "ade20k_part_234"])
def test_over_segmentation_is_the_originals_mean(path, name: str) -> None:
    vocabulary = load_vocabulary(name)
    arrays = recorded_arrays(path)
    stem = str(len(vocabulary.object_parts))
    objects = len(vocabulary.objects_with_parts)
    owners = np.append(vocabulary.object_index, objects)  # the background owns itself
    index = 100 * over_segmentation(grouped_confusion(arrays[f"{stem}_conf"], owners))[:-1]
    seen = np.isin(np.arange(objects), vocabulary.object_index[vocabulary.is_seen])
    means = [mean_of_valid(values) for values in (index[seen], index[~seen], index)]
    np.testing.assert_allclose(means, arrays[f"{stem}_osi_base_unbase_mean"], atol=1e-10)
