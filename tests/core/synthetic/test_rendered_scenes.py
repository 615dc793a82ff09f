"""Rendered scenes: same seed same pixels, every label right, an interrupted run continues."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.killed_worker import die_at_the_second_shard

from ovps_core.errors import BackendError, DatasetError, OutputError
from ovps_core.synthetic.catalogue import (
    HELD_OUT_OBJECT_PARTS,
    OBJECT_CLASSES,
    classes_of,
    object_parts_of,
)
from ovps_core.synthetic.object_class import TEST_BAND, ShapeRng
from ovps_core.synthetic.settings import IGNORED

pytest.importorskip("mujoco")
pytest.importorskip("trimesh")


@pytest.fixture(scope="module", autouse=True)
def _working_gl() -> None:
    from ovps_core.synthetic.renderer import OFFSCREEN_CONTEXTS

    try:
        OFFSCREEN_CONTEXTS.get(64, 64)
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    from ovps_core.synthetic.generate import generate
    from ovps_core.synthetic.settings import RenderSettings

    out = tmp_path_factory.mktemp("rendered") / "set"
    return generate(out, RenderSettings(count=70, size=96, seed=5, depth=True))


def test_the_tabletop_vocabulary_shares_parts_between_objects() -> None:
    pairs = object_parts_of("tabletop")
    assert len({o for o, _ in pairs}) >= 16
    assert len({p for _, p in pairs}) >= 14
    for name, part in HELD_OUT_OBJECT_PARTS:
        assert any(o == name and p != part for o, p in pairs)
        assert any(p == part and o != name for o, p in pairs)


@pytest.mark.parametrize("name", sorted(OBJECT_CLASSES))
def test_every_object_is_built_of_its_named_closed_parts(name: str) -> None:
    cls = OBJECT_CLASSES[name]
    seen = set()
    for seed in range(8):
        parts = cls.build(ShapeRng(np.random.default_rng(seed)))
        seen |= {p.part for p in parts}
        for p in parts:
            assert p.mesh.is_watertight and p.mesh.volume > 0, (name, p.part)
    assert seen <= set(cls.parts)


def test_train_shapes_never_enter_the_band_that_test_shapes_come_from() -> None:
    rng = np.random.default_rng(0)
    train = np.array([ShapeRng(rng, "train").u for _ in range(500)])
    val = np.array([ShapeRng(rng, "val").u for _ in range(200)])
    test = np.array([ShapeRng(rng, "test").u for _ in range(200)])
    assert not ((train > TEST_BAND[0]) & (train < TEST_BAND[1])).any()
    assert TEST_BAND[0] <= val.min() and val.max() <= test.min() and test.max() <= TEST_BAND[1]


def test_the_same_seed_gives_the_same_pixels_and_a_split_other_ones(folder) -> None:
    from ovps_core.synthetic.generate import render_shard
    from ovps_core.synthetic.reader import RenderedScenes
    from ovps_core.synthetic.settings import RenderSettings

    scenes = RenderedScenes(folder)
    again = render_shard(RenderSettings(count=70, size=96, seed=5, depth=True), 1)
    assert len(again) == 6
    for i, scene in enumerate(again):
        np.testing.assert_array_equal(scene.parts, scenes[64 + i].parts)
        np.testing.assert_array_equal(scene.rgb, scenes[64 + i].rgb)
    other = render_shard(RenderSettings(count=1, size=96, seed=5, split="test"), 0)
    assert (other[0].rgb != scenes[0].rgb).any()


def test_labels_agree_with_instances_and_depth(folder) -> None:
    from ovps_core.synthetic.reader import RenderedScenes

    scenes = RenderedScenes(folder)
    assert len(scenes) == 70 and scenes.object_parts == object_parts_of("tabletop")
    for i in range(0, 70, 5):
        scene = scenes[i]
        np.testing.assert_array_equal(scene.parts > 0, scene.objects > 0)
        for value in np.unique(scene.parts[scene.parts > 0]):
            name, _ = scenes.object_parts[value - 1]
            numbers = np.unique(scene.objects[scene.parts == value])
            assert {scene.instances[n - 1][0] for n in numbers} == {name}
        # A labelled pixel's 3D point lies near the object that it is labelled with.
        v, u = np.nonzero(scene.objects)
        z = scene.depth[v, u]
        k, pose = scene.intrinsics, scene.camera_pose
        ray = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(z)], -1)
        world = (ray * z[:, None]) @ pose[:3, :3].T + pose[:3, 3]
        centre = np.stack([p[:3, 3] for _, p in scene.instances])[scene.objects[v, u] - 1]
        assert (np.linalg.norm(world - centre, axis=1) < 0.45).all()
        assert (world[:, 2] > -0.005).all()


def test_pictures_are_neither_black_nor_white_and_objects_fill_them(folder) -> None:
    from ovps_core.synthetic.reader import RenderedScenes

    scenes = RenderedScenes(folder)
    levels = [scenes[i].rgb.mean() for i in range(70)]
    assert min(levels) > 45 and max(levels) < 215
    assert np.mean([(scenes[i].parts > 0).mean() for i in range(70)]) > 0.12


def test_an_interrupted_render_continues_and_other_settings_are_refused(folder, tmp_path) -> None:
    from ovps_core.synthetic.generate import generate
    from ovps_core.synthetic.reader import RenderedScenes
    from ovps_core.synthetic.settings import RenderSettings

    copy = tmp_path / "cut"
    shutil.copytree(folder, copy)
    kept = (copy / "shard_00000" / "rgb.npy").stat().st_mtime_ns
    shutil.rmtree(copy / "shard_00001")
    with pytest.raises(DatasetError, match="Run the same"):
        RenderedScenes(copy)
    generate(copy, RenderSettings(count=70, size=96, seed=5, depth=True))
    assert (copy / "shard_00000" / "rgb.npy").stat().st_mtime_ns == kept
    np.testing.assert_array_equal(RenderedScenes(copy)[69].rgb, RenderedScenes(folder)[69].rgb)
    with pytest.raises(DatasetError, match="other settings"):
        generate(copy, RenderSettings(count=70, size=96, seed=6, depth=True))


def test_a_render_may_be_ended_with_fewer_scenes_and_extended_again(tmp_path) -> None:
    """200 scenes, stopped after 64; 100 of them; 200 again. No shard stays too short, none is drawn twice."""
    from ovps_core.synthetic.generate import save_shard, write_folder
    from ovps_core.synthetic.reader import RenderedScenes
    from ovps_core.synthetic.settings import RenderSettings, Scene

    drawn, room = [], [1]

    def write_shard(task) -> int:
        settings, out, shard = task
        if len(drawn) == room[0]:
            raise KeyboardInterrupt
        blank = np.zeros((32, 32), np.uint8)
        colour = np.zeros((32, 32, 3), np.uint8)
        scene = Scene(colour, blank, blank, None, np.eye(3), np.eye(4), ())
        count = min(64, settings.count - 64 * shard)
        drawn.append((shard, count))
        return save_shard(out, shard, [scene] * count)

    def render(count: int) -> None:
        settings = RenderSettings(count=count, size=32)
        write_folder(tmp_path, settings, [("mug", "handle")], write_shard, 1)

    with pytest.raises(KeyboardInterrupt):
        render(200)
    room[0] = 99
    render(100)
    assert len(list(RenderedScenes(tmp_path))) == 100
    render(200)
    assert len(list(RenderedScenes(tmp_path))) == 200
    assert drawn == [(0, 64), (1, 36), (1, 64), (2, 64), (3, 8)]
    render(100)
    assert len(RenderedScenes(tmp_path)) == 200 and len(drawn) == 5, "nothing is lost"


def test_a_killed_process_ends_the_render_in_words(tmp_path: Path) -> None:
    from ovps_core.synthetic.generate import write_folder
    from ovps_core.synthetic.settings import RenderSettings

    settings = RenderSettings(count=256)
    with pytest.raises(OutputError, match=r"was killed.*the same command continues"):
        write_folder(tmp_path, settings, [("mug", "handle")], die_at_the_second_shard, 2)


def test_the_command_writes_a_folder_and_a_contact_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    from ovps_core.cli import main

    (tmp_path / "ovps_core").mkdir()
    (tmp_path / "ovps_core" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)  # another checkout, whose objects are not those that are rendered
    sheet = tmp_path / "sheet.png"
    args = ["--count", "4", "--size", "64", "--out", str(tmp_path / "o"), "--sheet", str(sheet)]
    assert main(["render", *args]) == 0
    assert cv2.imread(str(sheet)).shape[0] > 64
    header = json.loads((tmp_path / "o" / "scenes.json").read_text())
    assert header["settings"]["count"] == 4
    said = capsys.readouterr().err
    assert re.search(r"4 scenes to render: 0\.0 GB in .*, about ", said)
    assert "this is the installed copy" in said and "`python -m ovps_core render`" in said


def test_scenes_of_named_objects_show_these_alone_and_continue(tmp_path, capsys) -> None:
    from ovps_core.cli import main
    from ovps_core.synthetic.reader import RenderedScenes

    args = [
        "render",
        "--size",
        "64",
        "--out",
        str(tmp_path),
        "--objects",
        "flashlight",
        "soap dispenser",
    ]
    assert main([*args, "--count", "3"]) == 0
    assert main([*args, "--count", "5"]) == 0
    scenes = RenderedScenes(tmp_path)
    shown = {name for scene in scenes for name, _ in scene.instances}
    assert shown == {"flashlight", "soap dispenser"}
    assert {name for name, _ in scenes.object_parts} == shown
    assert main([*args[:-2], "flashlihgt"]) == 1
    assert "'flashlihgt'. Known objects: axe" in capsys.readouterr().err


def test_every_class_of_a_level_can_rest_on_the_table() -> None:
    from ovps_core.synthetic.stable_poses import stable_poses

    rng = np.random.default_rng(0)
    for cls in classes_of("tabletop"):
        parts = cls.build(ShapeRng(rng))
        vertices = np.vstack([p.mesh.vertices for p in parts])
        for rest in stable_poses(vertices, cls.poses, rng):
            assert abs(rest.points[:, 2].min()) < 1e-6
            np.testing.assert_allclose(rest.rotation @ rest.rotation.T, np.eye(3), atol=1e-6)


def test_the_wild_vocabulary_is_wide_and_keeps_the_tabletop_pixel_values() -> None:
    pairs = object_parts_of("wild")
    assert len({o for o, _ in pairs}) >= 40
    assert len({p for _, p in pairs}) >= 25
    assert pairs[: len(object_parts_of("tabletop"))] == object_parts_of("tabletop")
    assert len(pairs) <= 255


def test_wild_scenes_are_deterministic_and_use_the_named_photos(tmp_path) -> None:
    import cv2

    from ovps_core.synthetic.generate import render_shard
    from ovps_core.synthetic.settings import RenderSettings

    photo = np.zeros((80, 120, 3), np.uint8)
    photo[..., 1] = 255
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "green.png"), photo)
    settings = RenderSettings(
        level="wild", count=24, size=64, seed=2, backgrounds=str(tmp_path / "photos")
    )
    first, again = render_shard(settings, 0), render_shard(settings, 0)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_array_equal(a.parts, b.parts)
    around = [scene.rgb[np.isin(scene.parts, (0, IGNORED))].astype(int) for scene in first]
    assert sum((each @ [-1, 1, -1] > 60).mean() > 0.5 for each in around) >= 6
    unknown = [(scene.parts == IGNORED).mean() for scene in first]
    assert sum(share > 0.1 for share in unknown) >= 6, "a photograph may show known objects"
    assert all((scene.objects[scene.parts == IGNORED] == 0).all() for scene in first)
    painted = render_shard(replace(settings, backgrounds="", count=8), 0)
    assert not any((scene.parts == IGNORED).any() for scene in painted)
    with pytest.raises(DatasetError, match="background folder"):
        render_shard(RenderSettings(level="wild", count=24, backgrounds=str(tmp_path / "no")), 0)


@pytest.mark.parametrize("objects", [("mug",), ("fridge", "door")])
def test_wild_scenes_show_the_named_objects_whatever_their_size(objects: tuple[str, ...]) -> None:
    from ovps_core.synthetic.generate import render_shard
    from ovps_core.synthetic.settings import RenderSettings

    scenes = render_shard(RenderSettings(level="wild", objects=objects, count=16, size=64), 0)
    named = [{name for name, _ in scene.instances} & set(objects) for scene in scenes]
    assert len(named) == 16 and all(named)


def test_a_folder_of_part_split_meshes_adds_members_to_wild_training(tmp_path) -> None:
    from ovps_core.synthetic.assets import asset_classes
    from ovps_core.synthetic.settings import RenderSettings

    folder = tmp_path / "object_sim" / "knife"
    folder.mkdir(parents=True)
    for part in OBJECT_CLASSES["knife"].build(ShapeRng(np.random.default_rng(0))):
        part.mesh.export(folder / f"knife_{part.part}.stl")
    (knife,) = asset_classes(str(tmp_path))
    parts = knife.build(ShapeRng(np.random.default_rng(1)))
    assert [p.part for p in parts] == ["handle", "blade"]
    assert min(p.mesh.vertices[:, 2].min() for p in parts) == pytest.approx(0, abs=1e-6)
    with pytest.raises(DatasetError, match="object_sim/knife"):
        asset_classes(str(tmp_path / "empty"))
    with pytest.raises(DatasetError, match="only training"):
        RenderSettings(level="wild", split="test", assets=str(tmp_path))
    with pytest.raises(DatasetError, match="wild level"):
        RenderSettings(level="tabletop", backgrounds=str(tmp_path))
