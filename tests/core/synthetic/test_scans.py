"""Scanned objects in rendered scenes: parts by face, unknown pixels marked, a camera with defects."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("trimesh")
import trimesh

from ovps_core.errors import BackendError, DatasetError
from ovps_core.synthetic import scan_scenes
from ovps_core.synthetic.backdrops import Backdrops, replace_background
from ovps_core.synthetic.lens import simulate_photograph
from ovps_core.synthetic.scans import (
    find_scans,
    load_mesh,
    scan_classes,
    smooth_normals,
    split_parts,
)
from ovps_core.synthetic.settings import IGNORED


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Write scans: a mug with two parts, clutter, and a cup without an entry."""
    root = tmp_path / "scans"
    for name, height in (("my_mug", 0.1), ("my_cup", 0.08), ("my_box", 0.06)):
        folder = root / "mine" / name
        folder.mkdir(parents=True)
        box = trimesh.creation.box((0.08, 0.08, height)).subdivide().subdivide()
        np.savez(
            folder / "textured.npz",
            vertices=box.vertices.astype(np.float32),
            faces=box.faces.astype(np.int32),
            uv=(box.vertices[:, :2] / 0.08 + 0.5).astype(np.float32),
        )
        cv2.imwrite(str(folder / "texture.jpg"), np.full((16, 16, 3), (200, 60, 30), np.uint8))
    right = trimesh.Trimesh(box.vertices, box.faces, process=False).triangles_center[:, 0] > 0
    np.save(root / "mine/my_mug/face_parts.npy", np.where(right, 1, 2).astype(np.uint8))
    entries = {
        "my_mug": {"object": "mug", "parts": ["handle", "body"]},
        "my_box": {"object": ""},
    }
    (root / "mine/parts.json").write_text(json.dumps(entries))
    return root


def _edit_entry(scans: Path, name: str, **changes: str) -> None:
    path = scans / "mine/parts.json"
    entries = json.loads(path.read_text())
    entries[name].update(changes)
    path.write_text(json.dumps(entries))


def test_parts_of_a_scan_are_its_faces_and_keep_its_texture(scans: Path) -> None:
    found = {scan.name: scan for scan in find_scans(scans)}
    assert found["mine/my_box"].object_name == ""
    assert found["mine/my_cup"].object_name == "?"
    assert found["mine/my_mug"].parts == ("handle", "body")
    texture = np.zeros((16, 16, 3), np.uint8)
    pieces = dict(split_parts(found["mine/my_mug"], np.ones(3), texture))
    assert set(pieces) == {"handle", "body"}
    assert pieces["handle"].vertices[:, 0].mean() > 0.01 > pieces["body"].vertices[:, 0].mean()
    assert len(pieces["body"].visual.uv) == len(pieces["body"].vertices)


def test_unusable_folders_are_named(scans: Path) -> None:
    with pytest.raises(DatasetError, match="no scans"):
        find_scans(scans / "mine" / "my_mug")
    np.save(scans / "mine/my_mug/face_parts.npy", np.ones(3, np.uint8))
    (mug,) = (scan for scan in find_scans(scans) if scan.name == "mine/my_mug")
    with pytest.raises(DatasetError, match="faces"):
        split_parts(mug, np.ones(3), None)
    (scans / "mine/my_mug/face_parts.npy").unlink()
    with pytest.raises(DatasetError, match=r"face_parts\.npy"):
        find_scans(scans)
    _edit_entry(scans, "my_mug", split="dev")
    with pytest.raises(DatasetError, match="'dev'"):
        find_scans(scans)


def test_an_obj_file_reads_in_the_order_of_its_faces(tmp_path: Path) -> None:
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 1\nvt 0 0\nvt 1 0\nvt 0 1\nvt 1 1\nvt 0.5 0.5\n"
    (tmp_path / "textured.obj").write_text(text + "f 2/2 4/4 3/3\nf 1/1 2/5 3/3\n")
    vertices, faces, uv = load_mesh(tmp_path)
    np.testing.assert_allclose(vertices[faces[0]], [[1, 0, 0], [1, 1, 1], [0, 1, 0]])
    np.testing.assert_allclose(vertices[faces[1]], [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(uv[faces[0]], [[1, 0], [1, 1], [0, 1]])
    np.testing.assert_allclose(uv[faces[1]], [[0, 0], [0.5, 0.5], [0, 1]])


def test_normals_do_not_break_along_texture_seams() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1.0]])
    normals = smooth_normals(vertices, np.array([[0, 1, 2], [3, 5, 4]]))
    np.testing.assert_allclose(normals[1], normals[3])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)


def test_photographs_behind_are_marked_unknown_and_surfaces_are_not(tmp_path: Path) -> None:
    for name in ("photos", "surfaces"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), np.full((64, 64, 3), 120, np.uint8))
    rgb, parts = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    parts[20:40, 20:40] = 5
    is_background = np.ones((64, 64), bool)
    seen = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        both = Backdrops(str(tmp_path / "surfaces"), str(tmp_path / "photos"))
        _, marked = replace_background(rgb, parts, is_background, both, rng)
        assert (marked[20:40, 20:40] == 5).all()
        seen |= set(np.unique(marked).tolist())
    assert seen == {0, 5, IGNORED}
    surfaces = Backdrops(str(tmp_path / "surfaces"))
    _, marked = replace_background(rgb, parts, is_background, surfaces, rng)
    assert IGNORED not in marked


def test_the_camera_changes_pixels_and_the_same_draw_gives_the_same_picture() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    for seed in range(10):
        first, second = (
            simulate_photograph(rgb.copy(), np.random.default_rng(seed)) for _ in range(2)
        )
        assert first.shape == rgb.shape and first.dtype == np.uint8
        np.testing.assert_array_equal(first, second)
        assert np.any(first != rgb)


def _skip_without_renderer() -> None:
    pytest.importorskip("mujoco")
    pytest.importorskip("manifold3d")
    from ovps_core.synthetic.renderer import OFFSCREEN_CONTEXTS

    try:
        OFFSCREEN_CONTEXTS.get(64, 64)
    except BackendError as error:
        pytest.skip(str(error))


def test_a_scene_shows_scans_with_their_parts(scans: Path) -> None:
    _skip_without_renderer()
    settings = scan_scenes.ScanSettings(scans=str(scans), count=3, size=64)
    scenes = scan_scenes.render_scan_shard(settings, 0)
    shown = set(np.unique([scene.parts for scene in scenes]).tolist()) - {0, IGNORED}
    assert shown and all(1 <= value <= len(scan_scenes.SCAN_OBJECT_PARTS) for value in shown)
    assert "mug" in {name for scene in scenes for name, _ in scene.instances}
    assert [c.name for c in scan_classes(scans, "train")].count("mug") == 1
    again = scan_scenes.render_scan_shard(settings, 0)
    for a, b in zip(scenes, again, strict=True):
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_array_equal(a.parts, b.parts)


def test_a_test_folder_shows_held_out_scans_only(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _skip_without_renderer()
    from ovps_core.synthetic.reader import RenderedScenes

    out = tmp_path / "scenes"
    args = ["--scans", str(scans), "--split", "test", "--count", "2", "--size", "64"]
    assert scan_scenes.main([*args, "--out", str(tmp_path / "none")]) == 1
    assert "no labelled scan" in capsys.readouterr().err
    _edit_entry(scans, "my_mug", split="test")
    assert scan_scenes.main([*args, "--out", str(out)]) == 0
    scenes = RenderedScenes(out)
    assert len(scenes) == 2
    assert {name for scene in scenes for name, _ in scene.instances} == {"mug"}
    values = set(np.unique([scene.parts for scene in scenes]).tolist()) - {0, IGNORED}
    assert {scenes.object_parts[value - 1] for value in values} <= {
        ("mug", "handle"),
        ("mug", "body"),
    }
    assert scan_scenes.main([*args, "--seed", "1", "--out", str(out)]) == 1
    assert "other settings" in capsys.readouterr().err
