"""Path-traced scenes: composed alike each time, placed apart, labelled exactly, continued where they stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ovps_core.errors import DatasetError, MissingDependencyError
from ovps_core.synthetic.path_traced import settings as settings_module
from ovps_core.synthetic.path_traced.__main__ import main
from ovps_core.synthetic.path_traced.scans import (
    CLUTTER,
    TEST_ONLY,
    is_shown,
    load_scan,
    read_obj,
)
from ovps_core.synthetic.path_traced.sensor import photograph_linear
from ovps_core.synthetic.path_traced.settings import PathTraceSettings
from ovps_core.synthetic.reader import RenderedScenes


def test_no_scan_is_shown_in_training_and_test() -> None:
    for name in TEST_ONLY | set(CLUTTER):
        assert is_shown(name, "train") != is_shown(name, "test")
        assert is_shown(name, "train") == is_shown(name, "val")


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(DatasetError, match="size"):
        PathTraceSettings(size=8)


def test_a_quad_of_an_obj_becomes_two_triangles(tmp_path: Path) -> None:
    file = tmp_path / "quad.obj"
    file.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 1\nf 1/1 2/2 3/2 4/1\n")
    vertices, faces, uv, uv_faces = read_obj(file)
    assert vertices.shape == (4, 3)
    assert faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert uv is not None and uv_faces.tolist() == [[0, 1, 1], [0, 1, 0]]


def test_missing_files_and_packages_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DatasetError, match=r"frypan.*is missing"):
        load_scan(str(tmp_path), "google_scanned/frypan")
    monkeypatch.setattr(settings_module, "find_spec", lambda name: None if name == "bpy" else name)
    with pytest.raises(MissingDependencyError, match=r"pip install 'ovps\[pathtrace\]'"):
        settings_module.require_path_tracer()
    assert main(["--out", str(tmp_path / "set"), "--count", "1"]) == 1
    assert "bpy" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_nothing_imports_blender_or_meshes_before_a_scene_is_made() -> None:
    code = (
        "import pkgutil, sys, importlib, ovps_core.synthetic.path_traced as package\n"
        "for module in pkgutil.iter_modules(package.__path__):\n"
        "    importlib.import_module(f'{package.__name__}.{module.name}')\n"
        "print([name for name in ('bpy', 'mujoco', 'trimesh') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("brightness", [1e-3, 1.0, 1e3])
def test_exposure_follows_the_light(brightness: float) -> None:
    light = np.random.default_rng(0).uniform(0.2, 1.0, (64, 64, 3)).astype(np.float32)
    picture = photograph_linear(light * brightness, np.random.default_rng(1))
    assert picture.dtype == np.uint8 and 70 < picture.mean() < 200


def test_the_same_scene_is_composed_alike_and_nothing_overlaps() -> None:
    pytest.importorskip("trimesh", reason="objects are built with trimesh")
    pytest.importorskip("manifold3d", reason="objects are built with manifold3d")
    from ovps_core.synthetic.path_traced.compose import compose

    settings = PathTraceSettings(split="test")
    seen = 0
    for index in range(6):
        first, second = (compose(settings, settings.stream(index, 0)) for _ in range(2))
        assert (first is None) == (second is None)
        if first is None or second is None:
            continue
        seen += 1
        np.testing.assert_array_equal(first.camera.pose, second.camera.pose)
        for p, q in zip(first.placed, second.placed, strict=True):
            np.testing.assert_array_equal(p.points, q.points)
            assert p.points[:, 2].min() == pytest.approx(0.0, abs=1e-6)
    assert seen


@pytest.mark.slow
def test_a_folder_is_exact_resumable_and_readable(tmp_path: Path) -> None:
    pytest.importorskip("bpy", reason="Blender's Python package bpy is not installed")
    pytest.importorskip("manifold3d", reason="objects are built with manifold3d")
    from ovps_core.synthetic.path_traced.generate import generate

    settings = PathTraceSettings(size=64, samples=1, seed=3)
    scenes = RenderedScenes(generate(tmp_path / "set", settings, 2, threads=2))
    assert len(scenes) == 2
    before = [np.array(scenes.arrays(i)[1]) for i in range(2)]
    scene = scenes[0]
    assert scene.rgb.shape == (64, 64, 3) and scene.depth is not None
    assert ((scene.parts > 0) <= (scene.objects > 0)).all()
    assert set(np.unique(scene.objects)) <= set(range(len(scene.instances) + 1))
    shown = {name for name, _ in scene.instances}
    assert {scenes.object_parts[v - 1][0] for v in np.unique(scene.parts[scene.parts > 0])} <= shown

    longer = RenderedScenes(generate(tmp_path / "set", settings, 3, threads=2))
    assert len(longer) == 3
    for i, parts in enumerate(before):
        np.testing.assert_array_equal(longer.arrays(i)[1], parts)
    again = RenderedScenes(generate(tmp_path / "other", settings, 1, threads=2))
    np.testing.assert_array_equal(again.arrays(0)[1], before[0])
    with pytest.raises(DatasetError, match="other settings"):
        generate(tmp_path / "set", PathTraceSettings(size=64, samples=2, seed=3), 3)
    header = json.loads((tmp_path / "set" / "scenes.json").read_text())
    assert header["settings"]["level"] == "wild"


@pytest.mark.slow
def test_labels_lie_where_the_camera_model_says(tmp_path: Path) -> None:
    pytest.importorskip("bpy", reason="Blender's Python package bpy is not installed")
    pytest.importorskip("manifold3d", reason="objects are built with manifold3d")
    from ovps_core.synthetic.path_traced.compose import compose, model_of
    from ovps_core.synthetic.path_traced.generate import render_scene

    settings = PathTraceSettings(size=96, samples=1, seed=1)
    scene, _ = render_scene(settings, 0, threads=2)
    composition = next(
        c for c in (compose(settings, settings.stream(0, a)) for a in range(40)) if c is not None
    )
    assert scene.depth is not None
    labelled = [p for p in composition.placed if model_of(p).object_name]
    names = [name for name, _ in scene.instances]
    assert names[0] == model_of(labelled[0]).object_name
    rows, columns = np.nonzero(scene.objects)
    depth = scene.depth[rows, columns]
    rays = np.linalg.inv(scene.intrinsics) @ np.stack([columns, rows, np.ones_like(rows)])
    world = scene.camera_pose[:3, :3] @ (rays * depth) + scene.camera_pose[:3, 3:]
    # Every labelled pixel, lifted by its depth, lies within its own object's bounds.
    for number, placed in enumerate(labelled, start=1):
        points = world[:, scene.objects[rows, columns] == number]
        if points.size:
            assert (placed.points.min(0) - 2e-3 < points.T).all()
            assert (placed.points.max(0) + 2e-3 > points.T).all()
