"""Every engine gives the masks that PyTorch gives in fp32."""

from __future__ import annotations

import functools
import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.toy_models import toy
from torch import Tensor

from ovps_core.checkpoints import LoadedModel
from ovps_core.engines import make_engine
from ovps_core.engines.calibration import calibration_images
from ovps_core.engines.interface import Engine, EngineShape
from ovps_core.engines.subgraphs import export_onnx
from ovps_core.errors import BackendError, MissingDependencyError
from ovps_core.models.catseg.model import CATSeg
from ovps_core.models.compact.model import PartFPN
from ovps_core.models.interface import Conditions, PartLogits, QueryEncoder
from ovps_core.models.network import PartModel
from ovps_core.models.partcatseg.model import PartCATSeg
from ovps_core.models.partclipseg.model import PartCLIPSeg
from ovps_core.pipeline.preprocess import RgbImage, to_batch
from ovps_core.profiling.workloads import queries, with_norm_statistics

FAMILIES = ("clipseg", "partclipseg", "catseg", "partcatseg", "compact")
SAFE_IN_16_BIT = ("clipseg", "partclipseg")
LEAST_IOU = {"fp32": 0.999, "bf16": 0.99, "fp16": 0.99, "mixed": 0.99, "int8": 0.97}
CPU_ENGINES = (
    "torch-cpu-bf16",
    "openvino-cpu-fp32",
    "openvino-cpu-bf16",
    "openvino-cpu-mixed",
    "openvino-cpu-int8",
    "onnxruntime-cpu-fp32",
)
GPU_ENGINES = ("torch-cuda:0-fp16", "compiled-cuda:0-fp16", "tensorrt-cuda:0-fp16")
CASES = ((1, 3), (4, 1), (16, 1), (40, 3))
"""(names, images); more than 32 names are decoded in two calls."""


def rows(engines: tuple[str, ...]) -> list[tuple[str, str]]:
    """(family, engine) where ``precision: auto`` may take the engine's precision for the family."""
    return [
        (family, engine)
        for family in FAMILIES
        for engine in engines
        if family in SAFE_IN_16_BIT or engine.endswith("fp32")
    ]


@functools.cache
def loaded(family: str) -> LoadedModel:
    """The toy model of a family, whose maps are not flat."""
    made = toy(family)
    if family == "compact":
        with_norm_statistics(made.model)
    return made


@pytest.fixture(scope="module", autouse=True)
def one_export_for_both_runtimes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same ONNX files for OpenVINO and ONNX Runtime: exporting takes most of the time of these tests."""
    folder = tmp_path_factory.mktemp("graphs")

    def copy_or_export(
        model: PartModel, path: Path, *, subgraph: str, size: tuple[int, int]
    ) -> None:
        kept = folder / f"{type(model).__name__} {subgraph} {size}.onnx"
        if not kept.exists():
            export_onnx(model, kept, subgraph=subgraph, size=size)
        shutil.copy(kept, path)

    with pytest.MonkeyPatch.context() as patch:
        for runtime in ("onnx", "openvino"):
            patch.setattr(f"ovps_core.engines.{runtime}.runtime.export_onnx", copy_or_export)
        yield


def made_engine(row: tuple[str, str]) -> Engine:
    """The prepared engine of a row; skips the test where the machine lacks it."""
    family, name = row
    backend, device, precision = name.split("-")
    if device != "cpu" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    wanted = {"openvino": "openvino", "onnxruntime": "onnxruntime"}.get(backend, "torch")
    if not importlib.util.find_spec(wanted):
        pytest.skip(f"{wanted} is not installed")
    model, query_encoder, _ = loaded(family)
    try:
        made = make_engine(
            model,
            backend=backend,
            device=device,
            precision=precision,
            query_encoder=query_encoder,
        )
    except (BackendError, MissingDependencyError) as error:
        pytest.skip(str(error))
    made.prepare(EngineShape(batch=1, size=model.spec.preprocessing.size, max_queries=32))
    return made


@pytest.fixture(scope="module", params=rows(CPU_ENGINES), ids="-".join)
def row(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def engine(row: tuple[str, str]) -> Engine:
    return made_engine(row)


@functools.cache
def pictures() -> list[RgbImage]:
    return calibration_images([])


def pixels(model: PartModel, batch: int) -> Tensor:
    return to_batch(pictures()[-batch:], model.spec.preprocessing)


def conditions(model: PartModel, count: int, query_encoder: QueryEncoder) -> Conditions:
    """``count`` names, and as many pairs of them where the model has pairs; the same words every time."""
    random = torch.Generator().manual_seed(count)
    if isinstance(model, PartFPN):  # its words are fixed: rows are one-hot
        known = torch.eye(model.spec.condition_dim)
        parts, objects = torch.randint(0, count, (2, count), generator=random)
        return Conditions(known[:count], known[-count:], parts, objects)
    assert query_encoder.text_encoder is not None
    names = query_encoder.text_encoder.embed([query.text for query in queries(count)])
    if isinstance(model, PartCATSeg):
        parts, objects = torch.randint(0, count, (2, count), generator=random)
        pairs = names.flip(0)
        return model.object_part_conditions(names, pairs, parts, objects, num_parts=count // 2)
    if isinstance(model, CATSeg):
        return model.conditions(names)
    if not isinstance(model, PartCLIPSeg):
        return Conditions.names_only(names)
    parts, objects = torch.randint(0, count, (2, count), generator=random)
    with torch.inference_mode():
        return Conditions(names, model.compose(names, parts, objects), parts, objects)


@torch.inference_mode()
def reference(model: PartModel, images: Tensor, asked: Conditions) -> PartLogits:
    return PartLogits(*model(images, *asked.arrays()))


@functools.cache
def case(family: str, count: int, batch: int) -> tuple[Tensor, Conditions, PartLogits]:
    """Pixels, conditions and what PyTorch answers in fp32."""
    model, query_encoder, _ = loaded(family)
    images, asked = pixels(model, batch), conditions(model, count, query_encoder)
    return images, asked, reference(model, images, asked)


@functools.cache
def case_of_no_word(family: str) -> tuple[Tensor, Conditions, PartLogits]:
    """The case of 4 names in one image, with random vectors for the names."""
    images, asked, _ = case(family, 4, 1)
    random = torch.Generator().manual_seed(4)
    asked = replace(asked, names=torch.randn(asked.names.shape, generator=random))
    return images, asked, reference(loaded(family).model, images, asked)


def agreement(found: Tensor, expected: Tensor, cut: float | None = None) -> tuple[float, float]:
    """Mean mask IoU and the largest error relative to the spread of the logits.

    Random weights put a whole map on one side of zero, so each map is cut at its own upper quartile: a mask of a
    quarter of the picture whose border crosses all of it, which is harder than a trained model's. Trained
    maps are cut at ``cut``.
    """
    spread = expected.std().item()
    found, expected = found.flatten(2), expected.flatten(2)
    level = expected.quantile(0.75, dim=2, keepdim=True) if cut is None else cut
    ours, theirs = found > level, expected > level
    union = (ours | theirs).sum(2)
    iou = torch.where(union > 0, (ours & theirs).sum(2) / union, 1.0)
    return iou.mean().item(), (found - expected).abs().max().item() / spread


def assert_same_masks(engine: Engine, family: str, count: int, batch: int) -> None:
    images, asked, expected = case(family, count, batch)
    found = engine.run(images, asked)
    for what, ours, theirs in [
        ("names", found.names.cpu(), expected.names),
        ("pairs", found.object_parts.cpu(), expected.object_parts),
    ]:
        assert ours.dtype == torch.float32 and ours.shape == theirs.shape
        if ours.numel():
            iou, error = agreement(ours, theirs)
            print(f"{engine} {what}: IoU {iou:.4f}, logit error {error:.1e} of the spread")
            assert iou >= LEAST_IOU[engine.precision], (what, count, batch)


def assert_vectors_of_no_word_keep_their_masks(engine: Engine, family: str) -> None:
    images, asked, expected = case_of_no_word(family)
    found = engine.run(images, asked)
    assert agreement(found.names.cpu(), expected.names)[0] >= LEAST_IOU[engine.precision]


def test_families_in_16_bit_are_those_that_are_safe() -> None:
    safe = [family for family in FAMILIES if loaded(family).model.spec.safe_in_half_precision]
    assert safe == [*SAFE_IN_16_BIT]


@pytest.mark.slow
def test_compiled_on_a_cpu() -> None:
    engine = make_engine(loaded("partclipseg").model, backend="compiled", device="cpu")
    images, asked, expected = case("partclipseg", 4, 1)
    found = engine.run(images, asked)
    assert agreement(found.names, expected.names)[0] >= LEAST_IOU["fp32"]
    assert agreement(found.object_parts, expected.object_parts)[0] >= LEAST_IOU["fp32"]


@pytest.mark.parametrize(("count", "batch"), CASES)
def test_same_inputs_same_masks(
    engine: Engine, row: tuple[str, str], count: int, batch: int
) -> None:
    assert_same_masks(engine, row[0], count, batch)


def test_vectors_of_no_word_keep_their_masks(engine: Engine, row: tuple[str, str]) -> None:
    if row[0] == "compact":
        pytest.skip("its words are fixed")
    assert_vectors_of_no_word_keep_their_masks(engine, row[0])


@pytest.mark.gpu
@pytest.mark.parametrize("row", rows(GPU_ENGINES), ids="-".join)
def test_same_masks_on_a_gpu(row: tuple[str, str]) -> None:
    engine = made_engine(row)
    for count, batch in CASES:
        assert_same_masks(engine, row[0], count, batch)
    assert_vectors_of_no_word_keep_their_masks(engine, row[0])
