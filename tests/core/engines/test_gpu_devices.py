"""No step of a frame or of training mixes devices or waits for the GPU, shown without one.

Fake tensors have a device, a type and a shape, but no values. An operation on tensors of two devices raises, and
so does one whose shape or result depends on values: those are what the host would have to wait for.
"""

from __future__ import annotations

import pytest
import torch
from helpers.toy_models import TOY_MODELS
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from ovps_core.engines.chunking import (
    Chunk,
    decode_in_chunks,
    pad_to_bucket,
    pad_with_dummy_object_part,
    split,
)
from ovps_core.models.interface import Conditions, QueryRows, query_logits
from ovps_core.models.network import PartModel

GPU = torch.device("cuda", 0)


def on_a_gpu(model: nn.Module, mode: FakeTensorMode) -> None:
    """Replace weights and buffers in place by fake ones."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = nn.Parameter(mode.from_tensor(weight).to(GPU), False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = mode.from_tensor(buffer).to(GPU)


def faked(chunk: Chunk, mode: FakeTensorMode) -> Chunk:
    chunk = chunk.to(torch.device("cpu"))
    conditions = Conditions(*map(mode.from_tensor, chunk.conditions.arrays()))
    return Chunk(
        conditions, mode.from_tensor(chunk.name_rows), mode.from_tensor(chunk.object_part_rows)
    )


def asked(model: PartModel, names: int) -> Conditions:
    pairs = names if model.spec.answers_object_parts else 0
    index = torch.arange(pairs)
    words = torch.zeros(names, model.spec.condition_dim)
    return Conditions(words, words[:pairs], index, index.flip(0))


def test_fake_tensors_tell_devices_apart_and_what_would_wait() -> None:
    with FakeTensorMode():
        here, there = torch.zeros(2), torch.zeros(2, device=GPU)
        with pytest.raises(RuntimeError, match="two devices"):
            here + there
        with pytest.raises(DataDependentOutputException):
            there[0].item()


@pytest.mark.parametrize("name", list(TOY_MODELS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_frame_stays_on_the_gpu_and_never_waits(name: str, dtype: torch.dtype) -> None:
    model = TOY_MODELS[name]().to(dtype)
    conditions = asked(model, 70).to("cpu", dtype)
    chunks = split(conditions, 32)  # reads values: done when the words change, not per frame
    several = (0,) if model.spec.answers_object_parts else ()
    with FakeTensorMode() as mode, torch.no_grad():
        on_a_gpu(model, mode)
        here = [faked(chunk, mode).to(GPU) for chunk in chunks]
        pixels = torch.empty(2, 3, *model.spec.preprocessing.size, device=GPU, dtype=dtype)
        logits = decode_in_chunks(model.decode, model.encode(pixels), conditions, here)
        maps = query_logits(
            logits, [QueryRows(names=(0,)), QueryRows(names=(1, 2), object_parts=several)]
        )
        padded = pad_to_bucket(pad_with_dummy_object_part(here[0].conditions))
    assert maps.device == GPU and maps.shape[:2] == (2, 2)
    assert {tensor.device for tensor in padded.arrays()} == {GPU}


def test_the_pictures_and_the_loss_of_a_tiny_model_stay_on_the_gpu() -> None:
    pytest.importorskip("lightning")
    from ovps_core.losses.dice import dice_loss
    from training.compact.augment import relight

    with FakeTensorMode():
        images = relight(torch.zeros(4, 3, 32, 32, dtype=torch.uint8, device=GPU))
        label = torch.zeros(4, 32, 32, dtype=torch.int64, device=GPU)
        loss: Tensor = dice_loss(torch.zeros(4, 5, 32, 32, device=GPU), label)
    assert images.device == loss.device == GPU and loss.shape == ()
