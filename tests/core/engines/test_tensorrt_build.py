"""TensorRT-RTX builds every model in 16 bit on a machine without a GPU; cached engines are checked before use."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from core.engines.test_engines import agreement, conditions, pixels
from helpers.toy_models import TOY, TOY_MODELS, build, toy_clipseg, toy_openseed
from torch import Tensor

from ovps_core.checkpoints import LoadedModel, known_models, load_model
from ovps_core.engines.engine_cache import EngineCache, is_intact, model_key
from ovps_core.engines.onnx.runtime import session
from ovps_core.engines.subgraphs import export_onnx
from ovps_core.engines.tensorrt.build import Profile, build_plan
from ovps_core.engines.tensorrt.runtime import plan_key
from ovps_core.language.parser import parse_queries
from ovps_core.models.clipseg.model import CLIPSeg
from ovps_core.models.interface import Conditions
from ovps_core.models.network import PartModel
from ovps_core.models.objects import ObjectModel, ObjectPredictions
from ovps_core.models.partclipseg.model import PartCLIPSeg, PartCLIPSegConfig
from ovps_core.pipeline.postprocess.instances import keep_best
from ovps_core.pipeline.preprocess import to_pixels
from ovps_core.profiling.objects import matched
from ovps_core.profiling.workloads import open_model
from ovps_core.synthetic.live import LiveScene

CARDS = ("8.6", "8.9", "12.0")
QUERIES = Profile(queries=(1, 4, 32))


def partclipseg_vitb16() -> LoadedModel:
    return build("partclipseg", PartCLIPSegConfig(out_indices=(3, 6, 9)))


def packaged() -> LoadedModel:
    path = next(model.path for model in known_models() if model.packaged)
    if not path.is_file():
        pytest.skip(f"no packaged weights at {path}")
    return load_model(path)


def scene(loaded: LoadedModel) -> tuple[Tensor, Conditions]:
    """A picture of things that the packaged model knows, and their words."""
    live = LiveScene(["knife", "mug", "pan"], seed=0)
    image = live.frame(0.0).rgb
    live.close()
    queries = parse_queries("knife handle, knife blade, mug handle, mug body, pan handle, pan body")
    pixels = to_pixels(image, loaded.model.spec.preprocessing)
    return pixels, loaded.query_encoder.encode(queries).conditions


def weights_in_graph(model: PartModel) -> int:
    """Parameters that a frame passes through: no text tower, no layers behind the last tap."""
    used = 0
    for name, parameter in model.named_parameters():
        block = name.partition(".resblocks.")[2].partition(".")[0]
        behind = (
            name.startswith("backbone")
            and block.isdigit()
            and int(block) > max(model.backbone.out_indices)
        )
        if not behind:
            used += parameter.numel()
    return used


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("make", [partclipseg_vitb16, packaged])
def test_full_size_builds_in_16_bit_and_the_graph_keeps_the_masks(make, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    loaded = make()
    model = loaded.model
    onnx = tmp_path / "graph.onnx"
    export_onnx(model, onnx, precision="fp16")
    seen = []
    plan, report = build_plan(
        onnx, profile=QUERIES, capabilities=CARDS, progress=lambda *step: seen.append(step)
    )
    print(
        f"{len(plan) / 1e6:.0f} MB in {report.seconds:.1f} s, {report.layers} layers, {report.runtime}"
    )
    size = weights_in_graph(model)
    assert 2 * size * 0.95 < len(plan) < 2 * size * 1.25 + 6e6, "two bytes a weight, and some code"
    assert seen, "the build says how it advances"
    assert report.capabilities == CARDS

    images, asked = (
        scene(loaded)
        if make is packaged
        else (pixels(model, 1), conditions(model, 4, loaded.query_encoder))
    )
    asked = asked.to("cpu")  # those of the packaged model are NumPy arrays
    with torch.inference_mode():
        expected = model(images, *asked.arrays())
    runner = session(onnx)
    named = ("pixels", "names", "object_parts", "part_index", "object_index")
    feeds = dict(zip(named, (images, *asked.arrays()), strict=True))
    found = runner.run(None, {slot.name: feeds[slot.name].numpy() for slot in runner.get_inputs()})
    for ours, theirs in zip(found, expected, strict=False):  # without pairs there is one output
        cut = 0.0 if make is packaged else None
        iou, error = agreement(torch.from_numpy(ours), theirs, cut)
        print(f"IoU {iou:.4f}, logit error {error:.1e} of the spread")
        assert ours.dtype == np.float32 and iou >= 0.99


@pytest.mark.parametrize("kind", [CLIPSeg, PartCLIPSeg])
@pytest.mark.parametrize("subgraph", ["encoder", "part_decoder"])
def test_the_subgraphs_that_the_runtime_loads_build(kind, subgraph: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    onnx = tmp_path / "graph.onnx"
    config = PartCLIPSegConfig(**{**TOY, "dim": 64})  # heads of 16, as TensorRT has kernels for
    export_onnx(kind(config).eval(), onnx, precision="fp16", subgraph=subgraph)
    plan, report = build_plan(onnx, profile=QUERIES, capabilities=("8.9",))
    assert plan and any("half" in tensor for tensor in (*report.inputs, *report.outputs))


@pytest.mark.slow
def test_the_graph_that_decodes_boxes_builds(tmp_path: Path) -> None:
    """The other graphs of an object model are built at full size below."""
    pytest.importorskip("tensorrt_rtx")
    onnx = tmp_path / "graph.onnx"
    export_onnx(toy_openseed(), onnx, precision="fp16", subgraph="box_decoder")
    plan, report = build_plan(onnx, profile=QUERIES, capabilities=("8.9",))
    levels = [each for each in (*report.inputs, *report.outputs) if each.startswith("level")]
    assert plan and levels and all("half" in level for level in levels)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_openseed_with_swin_t_builds_in_16_bit_and_keeps_its_objects(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    model, size = open_model("random:openseed-swint").model, (256, 320)
    assert isinstance(model, ObjectModel)
    graphs = {}
    for subgraph in ("encoder", "object_decoder", "mask_decoder"):
        onnx = tmp_path / f"{subgraph}.onnx"
        export_onnx(model, onnx, precision="fp16", subgraph=subgraph, size=size)
        plan, report = build_plan(onnx, profile=QUERIES, capabilities=CARDS)
        print(f"{subgraph}: {len(plan) / 1e6:.0f} MB in {report.seconds:.0f} s, {report.runtime}")
        assert report.capabilities == CARDS
        graphs[subgraph] = session(onnx)

    def run(subgraph: str, *inputs: np.ndarray) -> list[np.ndarray]:
        slots = [slot.name for slot in graphs[subgraph].get_inputs()]
        return graphs[subgraph].run(None, dict(zip(slots, inputs, strict=True)))

    random = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *size, generator=random)
    names = torch.nn.functional.normalize(torch.randn(20, 512, generator=random), dim=-1)
    with torch.inference_mode():
        features = model.encode(image)
        expected = model.find_queries(features, names)
        kept = keep_best(expected, max_instances=20, score_threshold=0.0)
        expected = expected.rows(kept)
        masks = model.mask_logits(features, expected.mask_embeddings)
    levels = run("encoder", image.numpy())
    assert all(level.dtype == np.float16 for level in levels)
    boxes, scores, embeddings = run("object_decoder", *levels, names.numpy())
    (logits,) = run("mask_decoder", *levels, embeddings)
    found = ObjectPredictions(*map(torch.from_numpy, (boxes, scores, logits)))
    ious, errors = matched(found, expected.with_masks(masks), size)
    print(f"mask IoU {ious.mean():.4f}, box error {errors.max():.2f} pixels at most")
    assert ious.mean() >= 0.99 and errors.median() <= 1.0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "subgraph"),
    [("catseg", "part_decoder"), ("partcatseg", "part_decoder"), ("partcatseg", "encoder")],
)
def test_models_that_compare_their_queries_build_in_32_bit(
    kind: str, subgraph: str, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    onnx = tmp_path / "graph.onnx"
    export_onnx(TOY_MODELS[kind](), onnx, subgraph=subgraph)
    plan, report = build_plan(onnx, profile=QUERIES, capabilities=("8.9",))
    assert plan and report.capabilities == ("8.9",)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OVPS_CACHE", str(tmp_path))
    return tmp_path


def builder(calls: list[Path], content: bytes = b"plan" * 1000):
    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "encoder.plan").write_bytes(content)

    return build


def test_an_engine_is_built_once(cache: Path) -> None:
    calls: list[Path] = []
    first = EngineCache().get_or_build("tensorrt", {"weights": "a"}, builder(calls))
    assert EngineCache().get_or_build("tensorrt", {"weights": "a"}, builder(calls)) == first
    assert len(calls) == 1
    assert EngineCache().get_or_build("tensorrt", {"weights": "b"}, builder(calls)) != first
    assert len(calls) == 2


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "manifest", "other key"])
def test_a_damaged_engine_is_built_again(cache: Path, damage: str) -> None:
    key, calls = {"weights": "a"}, []
    folder = EngineCache().get_or_build("tensorrt", key, builder(calls))
    plan, manifest = folder / "encoder.plan", folder / "manifest.json"
    if damage == "truncated":
        plan.write_bytes(plan.read_bytes()[:-1])
    elif damage == "changed":
        plan.write_bytes(b"nalp" * 1000)
    elif damage == "missing":
        plan.unlink()
    elif damage == "manifest":
        manifest.write_text("{")
    else:
        content = json.loads(manifest.read_text())
        manifest.write_text(json.dumps(content | {"key": {"weights": "z"}}))
    assert not is_intact(folder, key)
    assert EngineCache().get_or_build("tensorrt", key, builder(calls)) == folder
    assert len(calls) == 2 and plan.read_bytes() == b"plan" * 1000 and is_intact(folder, key)


def test_a_build_that_fails_leaves_nothing(cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "encoder.plan").write_bytes(b"half a plan")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        EngineCache().get_or_build("tensorrt", {"weights": "a"}, fail)
    assert not list((cache / "engines").iterdir())


def test_the_folder_of_a_killed_build_is_removed_after_a_day(cache: Path) -> None:
    killed, running = (
        cache / "engines" / f"tensorrt-{name}.unfinished" for name in ("killed", "running")
    )
    for folder in (killed, running):
        folder.mkdir(parents=True)
    yesterday = time.time() - 25 * 3600
    os.utime(killed, (yesterday, yesterday))
    EngineCache().get_or_build("tensorrt", {"weights": "a"}, builder([]))
    assert running.exists() and not killed.exists()


def test_the_key_names_all_that_a_plan_depends_on() -> None:
    model = toy_clipseg()
    given = {
        "size": (96, 96),
        "precision": "fp16",
        "profile": Profile(),
        "runtime": "tensorrt 10.3",
        "gpu": "NVIDIA L4 8.9",
    }
    key = plan_key(model, **given)
    others = {
        "size": (64, 64),
        "precision": "fp32",
        "profile": Profile(queries=(1, 1, 8)),
        "runtime": "tensorrt 10.4",
        "gpu": "NVIDIA T4 7.5",
    }
    for name, other in others.items():
        changed = plan_key(model, **{**given, name: other})
        assert changed != key, name
    assert model_key(model) == model_key(toy_clipseg())
    with torch.no_grad():
        model.decoder.film.add.bias[0] += 1
    assert plan_key(model, **given) != key
