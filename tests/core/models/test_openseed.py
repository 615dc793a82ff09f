"""OpenSeeD takes any names and sizes, and answers each name and each box by itself."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from helpers.toy_models import toy
from torch.nn.functional import normalize

from ovps_core.errors import ConfigError
from ovps_core.models.backbones.swin import SwinPyramid
from ovps_core.models.backbones.timm_pyramid import TimmPyramid
from ovps_core.models.families import FAMILIES
from ovps_core.models.interface import Conditions
from ovps_core.models.layers.deformable_attention import DeformableAttention
from ovps_core.models.objects import ObjectPredictions
from ovps_core.models.openseed.config import OpenSeeDConfig
from ovps_core.models.openseed.decoder import group_mask
from ovps_core.models.openseed.denoising import denoising_queries
from ovps_core.models.openseed.model import OpenSeeD
from ovps_core.models.openseed.text import NameEncoder, plain_name
from ovps_core.pipeline.canvas import Canvas
from ovps_core.pipeline.postprocess.instances import instances

NAMES = normalize(torch.randn(5, 32, generator=torch.Generator().manual_seed(1)), dim=-1)


@pytest.fixture(scope="module")
def model() -> OpenSeeD:
    network = toy("openseed").model
    assert isinstance(network, OpenSeeD)
    return network


@torch.no_grad()
def test_names_in_another_order_give_the_same_objects(model: OpenSeeD) -> None:
    features = model.encode(torch.randn(2, 3, 64, 96))
    order = torch.tensor([3, 1, 4, 0, 2])
    found, reordered = model.detect(features, NAMES), model.detect(features, NAMES[order])
    torch.testing.assert_close(reordered.scores, found.scores[..., order])
    torch.testing.assert_close(reordered.boxes_cxcywh, found.boxes_cxcywh)
    assert found.instances is not None and found.scores.shape[1] == found.instances + 100


@torch.no_grad()
def test_an_object_model_answers_parts_inside_each_object(model: OpenSeeD) -> None:
    features = model.encode(torch.randn(1, 3, 64, 64))
    boxes = torch.tensor([[[0.3, 0.3, 0.4, 0.4], [0.7, 0.6, 0.3, 0.5]]])
    objects = ObjectPredictions(boxes, torch.ones(1, 2, 1), torch.zeros(1, 2, 16, 16))
    parts = model.decode(features, Conditions.names_only(NAMES[:3]), objects)
    assert parts.object_parts.shape == (1, 6, 16, 16) and parts.names.shape[1] == 0
    assert parts.instance is not None and parts.instance.tolist() == [0, 1, 0, 1, 0, 1]
    direct = model.decode_masks(features, boxes, NAMES[1].expand(1, 2, -1))
    torch.testing.assert_close(direct, parts.object_parts[:, 2:4])


@torch.no_grad()
def test_a_map_of_each_name_without_objects(model: OpenSeeD) -> None:
    maps = model.decode(model.encode(torch.randn(2, 3, 64, 96)), Conditions.names_only(NAMES))
    assert maps.names.shape == (2, 5, 16, 24) and maps.names.isfinite().all()


@pytest.mark.parametrize("size", [(32, 32), (50, 33), (96, 160)])
def test_swin_maps_of_any_size(size: tuple[int, int]) -> None:
    maps = SwinPyramid(8, (1, 1, 2, 1), (1, 2, 4, 8), 7)(torch.randn(1, 3, *size))
    for stride, level in zip((4, 8, 16, 32), maps, strict=True):
        assert level.shape == (1, 2 * stride, *(-(-side // stride) for side in size))


def test_points_start_around_the_reference() -> None:
    attention = DeformableAttention(8, levels=1, heads=8, points=2)
    attention.value_proj.weight.data = attention.output_proj.weight.data = torch.eye(8)
    memory = torch.zeros(1, 81, 8)
    memory[0, 40] = 1.0  # the centre of 9 x 9 cells
    near, far = (
        attention(torch.zeros(1, 1, 8), torch.full((1, 1, 1, 2), at), memory, [(9, 9)])
        for at in (0.5 + 1 / 9, 0.95)
    )
    assert near.abs().sum() > 0 and far.abs().sum() == 0


@torch.no_grad()
def test_what_stands_behind_the_end_of_a_text_has_no_influence() -> None:
    encoder = toy("openseed").query_encoder.text_encoder
    assert isinstance(encoder, NameEncoder)
    tokens = encoder.tokenizer(["a photo of a knife.", "knife " * 40])
    end = int(tokens.max())
    padded = torch.where(tokens == 0, end, tokens)  # as the released tokeniser does
    assert not torch.equal(padded, tokens) and tokens.shape == (2, 18)
    torch.testing.assert_close(encoder(padded), encoder(tokens))
    torch.testing.assert_close(encoder(tokens).norm(dim=-1), torch.ones(2))
    short = encoder.encode_prompts(["a photo of a knife."])
    torch.testing.assert_close(short, encoder(tokens)[:1])


def test_suffixes_of_stuff_are_no_words() -> None:
    named = map(plain_name, ("wall-other-merged", "door-stuff", "t-shirt", "floor-wood"))
    assert list(named) == ["wall", "door", "t-shirt", "floor-wood"]


def test_denoising_queries_hold_each_object_once_per_group() -> None:
    labels = [torch.tensor([4, 2]), torch.tensor([1])]
    boxes = [torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.2, 0.2, 0.1, 0.1]]), torch.full((1, 4), 0.3)]
    noisy = denoising_queries(labels, boxes, max_queries=7)
    assert noisy is not None and (noisy.groups, noisy.group_size) == (3, 2)
    assert noisy.labels.tolist() == [[4, 2] * 3, [1, -1] * 3]
    moved = (noisy.anchors[0].sigmoid() - boxes[0].repeat(3, 1)).abs()
    reach = torch.cat([boxes[0][:, 2:] / 2, boxes[0][:, 2:]], -1).repeat(3, 1)
    assert (moved <= 0.4 * reach + 1e-4).all() and moved.sum() > 0
    assert not noisy.contents(torch.ones(5, 3))[1, 1::2].any()
    assert denoising_queries([labels[0][:0]], [boxes[0][:0]]) is None
    one_group = denoising_queries(labels, boxes, max_queries=1)
    assert one_group is not None and (one_group.groups, one_group.group_size) == (1, 2)
    assert denoising_queries(labels, boxes, max_queries=1, of_many_objects=False) is None
    assert denoising_queries(labels, boxes, max_queries=2, of_many_objects=False) is not None
    blocked = group_mask(3, 2, 4, torch.device("cpu"))
    assert blocked[6:, :6].all() and not blocked[:, 6:].any()
    assert not blocked[2:4, 2:4].any() and blocked[2:4, :2].all() and blocked[2:4, 4:6].all()


def test_boxes_alone_need_no_masks() -> None:
    predictions = ObjectPredictions(
        torch.tensor([[[0.5, 0.5, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1]]]),
        torch.tensor([[[0.9, 0.2], [0.1, 0.6]]]),
        torch.zeros(1, 2, 4, 4),
        instances=1,
    )
    canvas = Canvas((64, 64), (32, 64), (100, 200))
    found = instances(predictions, canvas, score_threshold=0.5, with_masks=False)
    assert found.masks is None and found.labels.tolist() == [0]
    torch.testing.assert_close(found.boxes, torch.tensor([[50.0, 50.0, 150.0, 150.0]]))
    torch.testing.assert_close(canvas.normalised(found.boxes), predictions.boxes_cxcywh[0, :1])


def test_masks_of_an_image_leave_out_the_padding() -> None:
    logits = torch.full((1, 16, 16), -5.0)
    logits[:, :8] = 5.0  # the content is the upper half
    canvas = Canvas((64, 64), (32, 64), (100, 200))
    mask = canvas.masks(logits)
    assert mask.shape == (1, 100, 200) and (mask[:, :90] > 0).all()


def test_a_network_of_timm_can_take_the_place_of_the_swin() -> None:
    config = replace(toy("openseed").info.config, trunk="test_efficientnet", object_queries=8)
    model, _ = FAMILIES["openseed"].build(config)
    assert isinstance(model, OpenSeeD) and isinstance(model.backbone, TimmPyramid)
    maps = model.backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(each.shape[2:]) for each in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    model.train()
    norms = [m for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms), (
        "batches are too small for statistics"
    )
    assert OpenSeeDConfig.from_json(json.loads(json.dumps(asdict(config)))) == config
    with pytest.raises(ConfigError, match="no_such_network"):
        TimmPyramid("no_such_network")
    with pytest.raises(ConfigError, match="strides"):
        TimmPyramid("test_vit")
