"""PartCATSeg computes what the released code computes, for the same weights and inputs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.catseg_recordings import Arrays, banks, encode, load, network, pixels, seeds
from parity.catseg_checks import LOGITS, check, check_features, check_layers
from torch import Tensor

from ovps_core.checkpoints import LoadedModel
from ovps_core.models.interface import Features
from ovps_core.models.joint_conditions import JointConditions
from ovps_core.models.partcatseg.corrections import Corrections
from ovps_core.models.partcatseg.model import PartCATSeg

pytestmark = pytest.mark.parity


def typed(loaded: LoadedModel) -> PartCATSeg:
    assert isinstance(loaded.model, PartCATSeg)
    return loaded.model


def conditions(loaded: LoadedModel, arrays: Arrays, split: str) -> JointConditions:
    """The recorded prompts, encoded: all parts, then all objects; and the (object, part) classes."""
    part, of_object = (arrays[f"{split}_{key}_index_map"].long() for key in ("part", "obj"))
    names = banks(loaded, arrays[f"{split}_tokens_part_obj"])
    parts = len(names) - int(of_object.max()) - 1
    pairs = banks(loaded, arrays[f"{split}_tokens_specific"])
    return typed(loaded).object_part_conditions(
        names, pairs, part, parts + of_object, num_parts=parts
    )


@pytest.fixture(params=seeds("partcatseg"), scope="module")
def seed(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["train", "test"], scope="module")
def case(seed: str, request: pytest.FixtureRequest) -> tuple[LoadedModel, Arrays, str]:
    return *load("partcatseg", seed), request.param


@torch.no_grad()
def test_text_banks_end_with_the_background_of_the_file(
    case: tuple[LoadedModel, Arrays, str],
) -> None:
    loaded, arrays, split = case
    asked = conditions(loaded, arrays, split)
    model, (clip, _) = network(loaded), pixels(arrays, split)
    for rows, key in ((asked.names, "part_obj"), (asked.object_parts, "specific")):
        check(arrays, f"{split}_text_{key}", model.banks(rows))
        guidance = model.text_guidance(model.banks(rows)).repeat(len(clip), 1, 1)
        check(arrays, f"{split}_text_guidance_{key}", guidance)


@torch.no_grad()
def test_features_of_the_image(case: tuple[LoadedModel, Arrays, str]) -> None:
    loaded, arrays, split = case
    check_features(loaded, arrays, split)


@torch.no_grad()
def test_costs_and_logits_of_both_branches(case: tuple[LoadedModel, Arrays, str]) -> None:
    loaded, arrays, split = case
    outputs = typed(loaded).decode_with_costs(
        encode(loaded, arrays, split), conditions(loaded, arrays, split)
    )
    check(arrays, f"{split}_part_obj_cost", outputs.name_cost.transpose(1, 2))
    check(arrays, f"{split}_specific_cost", outputs.pair_cost.transpose(1, 2))
    check(arrays, f"{split}_part_obj_logits", outputs.logits.names, atol=LOGITS)
    check(arrays, f"{split}_specific_logits", outputs.logits.object_parts, atol=LOGITS)


@torch.no_grad()
def test_the_output_of_every_layer_is_the_originals(case: tuple[LoadedModel, Arrays, str]) -> None:
    loaded, arrays, split = case
    model = typed(loaded)
    features, asked = encode(loaded, arrays, split), conditions(loaded, arrays, split)
    outputs = model.decode_with_costs(features, asked)
    maps = check_layers(
        model,
        model.branch,
        features,
        outputs.name_cost,
        asked.names,
        arrays,
        (
            f"{split}_cost_embed",
            f"{split}_layer",
            f"{split}_part_obj_agg",
            f"{split}_decoder{{}}_part_obj",
        ),
    )
    # each value sums up twice as many maps as one has channels: 4e-5 off on a processor that sums in another order
    projected = model.projected_pairs(maps, asked).flatten(0, 1)
    check(arrays, f"{split}_conv_proj_feat", projected, atol=5e-5)
    check_layers(
        model,
        model.pair_branch,
        features,
        outputs.pair_cost,
        asked.object_parts,
        arrays,
        (
            f"{split}_specific_cost_embed",
            f"{split}_specific_layer",
            f"{split}_specific_agg",
            f"{split}_decoder{{}}_specific",
        ),
    )


@torch.no_grad()
def test_separate_aggregation_gives_the_originals_maps_and_has_no_graphs(seed: str) -> None:
    loaded, arrays = load(
        "partcatseg", seed, replace(Corrections.released(), separate_aggregation=True)
    )
    logits = loaded.model.decode(encode(loaded, arrays, "test"), conditions(loaded, arrays, "test"))
    check(arrays, "test_split_part_obj_logits", logits.names, atol=LOGITS)
    check(arrays, "test_split_specific_logits", logits.object_parts, atol=LOGITS)
    assert loaded.model.spec.subgraphs == ()


@torch.no_grad()
def test_kind_of_attention_changes_answers(seed: str) -> None:
    released, arrays = load("partcatseg", seed)
    corrected, _ = load(
        "partcatseg", seed, replace(Corrections.released(), linear_class_attention=True)
    )

    def answer(loaded: LoadedModel) -> Tensor:
        features: Features = encode(loaded, arrays, "test")
        return loaded.model.decode(features, conditions(loaded, arrays, "test")).object_parts

    assert (answer(released) - answer(corrected)).abs().max() > 0.01


@torch.no_grad()
def test_pixels_of_the_contract_give_the_released_answer_where_nothing_is_padded(seed: str) -> None:
    loaded, arrays = load("partcatseg", seed)
    model, asked = network(loaded), conditions(loaded, arrays, "train")
    _, imagenet = pixels(arrays, "train")
    logits = model.decode(model.encode(imagenet), asked)
    check(arrays, "train_specific_logits", logits.object_parts, atol=LOGITS)
